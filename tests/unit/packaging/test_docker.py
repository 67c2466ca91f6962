import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
OURS = {"control", "worker", "metrics", "flower"}


def run(program, *arguments):
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = run("hadolint", DOCKERFILE)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_follows_the_compose_specification():
    schema = "vendor.compose-spec"
    done = run("check-jsonschema", "--builtin-schema", schema, ROOT / "docker" / "compose.yaml")

    assert done.returncode == 0, done.stdout


def test_every_image_ends_as_a_user_who_is_not_root():
    stages = DOCKERFILE.read_text().split("\nFROM ")[1:]

    assert len(stages) == 3
    assert {re.findall(r"^USER (.+)$", stage, re.M)[-1] for stage in stages} == {"10001"}


def test_the_app_image_installs_no_extra_that_needs_torch():
    app = DOCKERFILE.read_text().split("\nFROM app AS")[0]

    assert "[worker]" not in app
    assert "HEALTHCHECK" in app


def test_everything_the_images_copy_passes_the_ignore_file():
    allowed = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M))
    lines = re.findall(r"^COPY (.+)$", DOCKERFILE.read_text(), re.M)
    copied = {source for line in lines for source in line.split()[:-1]}

    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_compose_file_runs_the_cluster_with_two_workers_on_quorum_queues():
    services = COMPOSE["services"]

    assert set(services) == OURS | {"rabbitmq", "redis", "s3", "prometheus"}
    assert services["rabbitmq"]["image"].startswith("rabbitmq:4")
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["worker"]["environment"]["TILECHORD_QUEUE_PROFILE"] == "rmq4"


def test_every_port_is_published_on_loopback_only():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_is_written_down():
    values = [
        value
        for service in COMPOSE["services"].values()
        for name, value in service.get("environment", {}).items()
        if re.search("PASS|SECRET|AUTH", name)
    ]

    assert values
    assert all("${TILECHORD_PASSWORD" in value for value in values)


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_have_no_capabilities(name):
    service = COMPOSE["services"][name]

    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_its_configuration():
    command = ["promtool", "check", "config", str(ROOT / "docker" / "prometheus.yml")]

    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_versions_are_locked_without_hosts_paths_or_local_builds():
    lines = (ROOT / "docker" / "constraints.txt").read_text().splitlines()
    locked = [line for line in lines if not line.startswith("#")]

    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in locked)
