import json
import shlex
import socket
import subprocess
import sys

import pytest

import app.cluster.ports
from app.cluster import packages, servers
from app.cluster.local import read_env, write_env, write_targets
from app.cluster.ports import Ports, is_free, is_listening
from app.cluster.programs import flower, worker, worker_command
from app.cluster.service import open_site, write_private
from app.domain.errors import ConfigurationError


@pytest.fixture
def site(tmp_path):
    return open_site(tmp_path, Ports(base=17600))


def test_names_get_consecutive_ports_and_keep_them():
    ports = Ports(base=17600)

    assert [ports["a"], ports["b"], ports["a"]] == [17600, 17601, 17600]


def test_a_known_port_is_not_given_twice():
    ports = Ports({"old": 17600}, base=17600)

    assert [ports["old"], ports["new"]] == [17600, 17601]


def test_free_ports_are_free_and_distinct():
    ports = Ports()
    found = [ports[str(number)] for number in range(50)]

    assert len(set(found)) == 50
    assert all(is_free(port) for port in found)
    assert all(20000 <= port < 32000 for port in found)


def test_a_chosen_port_is_nobody_elses_choice_until_its_server_comes(monkeypatch):
    site = Ports()
    port = site["late"]
    monkeypatch.setattr(app.cluster.ports, "_FREE_RANGE", range(port, port + 1))

    with pytest.raises(ConfigurationError, match=f"no port from {port} to {port} is free"):
        Ports()["other"]
    with socket.create_server(("127.0.0.1", port)):
        assert is_listening(port)


def test_a_listening_port_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert not is_free(port)
        assert is_listening(port)
    assert not is_listening(port)


def test_passwords_survive_because_rabbitmq_keeps_its_own(tmp_path):
    assert open_site(tmp_path, Ports()).secrets == open_site(tmp_path, Ports()).secrets


def test_two_sites_share_no_password(tmp_path):
    first = open_site(tmp_path / "a", Ports()).secrets
    second = open_site(tmp_path / "b", Ports()).secrets

    assert not {first.broker, first.redis, first.s3_secret} & {
        second.broker,
        second.redis,
        second.s3_secret,
    }


def test_private_files_can_be_read_by_their_owner_only(tmp_path):
    write_private(tmp_path / "a/file", "one")
    write_private(tmp_path / "a/file", "two")

    assert (tmp_path / "a/file").read_text() == "two"
    assert (tmp_path / "a/file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


def test_no_password_is_visible_in_a_command(site):
    everything = [
        servers.epmd(site),
        servers.rabbitmq(site),
        servers.redis_server(site),
        servers.s3_server(site),
        flower(site),
        worker(site, "w1", pool="gpu", threads=1),
    ]
    found = site.secrets
    words = [word for service in everything for word in service.argv]

    for secret in (found.broker, found.redis, found.s3_access, found.s3_secret, found.flower):
        assert not [word for word in words if secret in word]


def test_every_file_with_a_password_is_private(site):
    for build in (servers.rabbitmq, servers.redis_server, servers.s3_server):
        build(site)
    write_env(site)

    secrets = [site.secrets.broker, site.secrets.redis, site.secrets.s3_secret]
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    telling = [path for path in files if any(secret in path.read_text() for secret in secrets)]
    assert len(telling) == 5
    assert {path.stat().st_mode & 0o777 for path in telling} == {0o600}


def test_servers_do_not_see_the_users_environment(site, monkeypatch):
    monkeypatch.setenv("RABBITMQ_NODENAME", "rabbit@elsewhere")
    monkeypatch.setenv("TILECHORD_MODEL", "mine")

    assert servers.rabbitmq(site).env["RABBITMQ_NODENAME"] == "tilechord@localhost"
    assert "TILECHORD_MODEL" not in servers.s3_server(site).env
    assert flower(site).env["TILECHORD_MODEL"] == "mine"


def test_prometheus_is_told_every_endpoint_and_asks_rabbitmq_for_single_queues(site):
    write_targets(site, workers=2)

    groups = json.loads((site.folder / "targets.json").read_text())

    found = {group["labels"]["job"]: group for group in groups}
    paths = {job: group["labels"]["__metrics_path__"] for job, group in found.items()}
    assert paths == dict.fromkeys(found, "/metrics") | {"rabbitmq": "/metrics/per-object"}
    assert [len(found[job]["targets"]) for job in ("queues", "workers", "flower")] == [1, 3, 1]


def test_the_env_file_reads_the_same_in_a_shell_and_in_python(site):
    write_env(site)
    script = f"set -a; . {shlex.quote(str(site.folder / 'env'))}; {sys.executable} -c " + (
        shlex.quote("import os, json; print(json.dumps(dict(os.environ)))")
    )

    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout

    variables = read_env(site.folder)
    assert variables["TILECHORD_BROKER_URL"] == servers.broker_url(site)
    assert variables["TILECHORD_STORE_URL"] == "s3://tilechord"
    assert all(f'"{name}": "{value}"' in shown for name, value in variables.items())


def test_a_cluster_that_is_not_up_has_no_variables(tmp_path):
    assert read_env(tmp_path) == {}


def test_a_worker_is_started_by_the_command_line_a_user_would_type():
    command = worker_command("w1", pool="gpu", metrics_port=17700)

    assert command[0].endswith("/bin/tilechord")
    assert command[1:] == (
        *("worker", "--queues", "gpu", "--name", "w1", "--metrics-port", "17700"),
    )


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "RABBITMQ", tmp_path / "none")
    monkeypatch.setattr(packages, "SEARCH_PATH", str(tmp_path))

    assert packages.missing() == ["rabbitmq-server", "redis-server"]
    with pytest.raises(ConfigurationError) as refused:
        packages.require()

    assert "apt-get update && " in str(refused.value)
    assert str(refused.value).endswith(
        "apt-get install --yes --no-install-recommends rabbitmq-server redis-server"
    )
    assert str(refused.value).startswith(
        "rabbitmq-server and redis-server must be installed, run: "
    )


@pytest.mark.parametrize(("user", "first"), [(0, "apt-get"), (1000, "sudo")], ids=["root", "user"])
def test_only_an_ordinary_user_needs_sudo(monkeypatch, user, first):
    monkeypatch.setattr(packages.os, "geteuid", lambda: user)

    assert [command[0] for command in packages.install_commands(["redis-server"])] == [first] * 2


def test_package_lists_are_fetched_before_anything_is_installed(monkeypatch, tmp_path):
    said = tmp_path / "said"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    apt.chmod(0o700)
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    packages.install(["redis-server"])

    assert said.read_text().splitlines() == [
        "update",
        "install --yes --no-install-recommends redis-server",
    ]
