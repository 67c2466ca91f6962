"""The local cluster's servers and Flower, as ``make up`` and ``make down`` run them."""

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from kombu import Connection

from app.cluster import packages, servers
from app.cluster import state as states
from app.cluster.lifecycle import bring_up
from app.cluster.local import down, read_env, server_tiers, write_env
from app.cluster.ports import LOOPBACK, Ports, is_listening
from app.cluster.process import is_running
from app.cluster.programs import flower
from app.cluster.service import open_site
from app.settings import Settings
from app.storage.open import open_store

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("local")


def up(folder) -> None:
    packages.require()
    site = open_site(folder, Ports(states.load(folder).ports))
    bring_up(folder, server_tiers(site), site.ports.known, print)
    write_env(site)


@pytest.fixture(scope="module", autouse=True)
def stopped_at_the_end(folder):
    yield
    down(folder, print)


@pytest.fixture
def running(folder):
    """The cluster up: each test repairs what the one before broke."""
    up(folder)
    return states.load(folder)


def chosen(folder) -> Settings:
    env = read_env(folder)
    return Settings(**{name.removeprefix("TILECHORD_").lower(): env[name] for name in env})


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


def cluster_command(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cluster", *arguments, "--folder", str(folder)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=200, check=False
    )


def test_a_second_up_starts_nothing(folder, running):
    up(folder)

    assert states.load(folder) == running


def test_every_port_is_on_loopback_only(running):
    ports = {port for record in running.records.values() for port in record.ports.values()}
    listening = subprocess.run(
        ["ss", "-ltnH"], capture_output=True, text=True, check=True
    ).stdout.split()
    ours = [word for word in listening if word.rpartition(":")[2] in map(str, ports)]

    assert all(is_listening(port) for port in ports)
    assert {word.rpartition(":")[0] for word in ours} <= {LOOPBACK, "[::1]"}


def test_strangers_are_refused_by_every_server(folder, running):
    broker = f"{LOOPBACK}:{running.records['rabbitmq'].ports['amqp']}"
    for url in (f"amqp://guest:guest@{broker}/", f"amqp://tilechord:wrong@{broker}/tilechord"):
        with pytest.raises(Exception, match="ACCESS_REFUSED"), Connection(url) as connection:
            connection.connect()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=running.records["redis"].ports["redis"]).ping()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"http://{LOOPBACK}:{running.records['s3'].ports['s3']}/tilechord")


def test_the_broker_exports_metrics(running):
    port = running.records["rabbitmq"].ports["amqp-metrics"]

    assert "rabbitmq_queue_messages_ready" in get(f"http://{LOOPBACK}:{port}/metrics")


def test_what_was_stored_is_there_after_down_and_up(folder, running):
    open_store(chosen(folder)).put("kept/tile", b"pixels")
    redis.Redis.from_url(chosen(folder).result_backend.get_secret_value()).set("kept", "yes")
    with Connection(chosen(folder).broker_url.get_secret_value()) as connection:
        connection.SimpleQueue("kept").put({"tile": 1})

    down(folder, print)
    up(folder)

    assert open_store(chosen(folder)).get("kept/tile") == b"pixels"
    assert redis.Redis.from_url(chosen(folder).result_backend.get_secret_value()).get("kept")
    with Connection(chosen(folder).broker_url.get_secret_value()) as connection:
        assert connection.SimpleQueue("kept").get(timeout=10).payload == {"tile": 1}


def test_up_replaces_a_server_that_was_killed(folder, running):
    os.kill(running.records["redis"].process.pid, 9)
    while running.records["redis"].is_running:
        pass

    up(folder)

    now = states.load(folder).records
    assert now["redis"].process != running.records["redis"].process
    assert now["rabbitmq"].process == running.records["rabbitmq"].process


def test_flower_asks_for_a_login(folder, running, tmp_path):
    del running
    site = open_site(folder, Ports(states.load(folder).ports))
    service = flower(site)
    bring_up(tmp_path, [[service]], {}, print)
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"http://{LOOPBACK}:{service.ports['http']}/workers")
    finally:
        down(tmp_path, print)


def test_status_tells_what_runs(folder, running):
    told = cluster_command(folder, "status")

    assert told.returncode == 0
    assert [line.split()[:2] for line in told.stdout.splitlines()] == [
        [name, "running"] for name in running.records
    ]


def test_logs_show_the_end_of_each_log(folder, running):
    del running
    told = cluster_command(folder, "logs", "redis", "--lines", "2")

    assert told.stdout.startswith("==> redis <==\n")
    assert "Ready to accept connections" in told.stdout


def test_down_leaves_no_process_no_port_and_no_address(folder):
    up(folder)
    before = states.load(folder)

    told = cluster_command(folder, "down")

    assert told.returncode == 0
    for record in before.records.values():
        assert not is_running(record.process)
        assert not any(is_listening(port) for port in record.ports.values())
    assert not left_in(folder)
    assert read_env(folder) == {}
    assert cluster_command(folder, "status").returncode == 1


def left_in(folder) -> list[str]:
    """Processes that have the cluster's folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in command:
            found.append(command)
    return found


def test_a_damaged_state_is_one_sentence_and_the_code_of_a_setting(tmp_path):
    (tmp_path / "state.json").write_text("{")

    told = cluster_command(tmp_path, "status")

    assert told.returncode == 3
    assert told.stderr.startswith(
        f"tilechord: cluster state {tmp_path}/state.json must be readable"
    )
    assert "Traceback" not in told.stderr


@pytest.fixture
def open_folder():
    """A folder that others may reach; those of pytest are closed to them."""
    with tempfile.TemporaryDirectory(prefix="tilechord-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_run_the_servers(open_folder):
    folder = open_folder
    site = open_site(folder, Ports())
    # Not SeaweedFS: its launcher needs this Python, which may lie in root's home.
    services = [servers.epmd(site), servers.rabbitmq(site), servers.redis_server(site)]
    subprocess.run(["chown", "-R", "nobody", folder], check=True)
    become = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")

    try:
        tiers = [[replace(service, argv=(*become, *service.argv))] for service in services]
        bring_up(folder, tiers, site.ports.known, print)

        for record in states.load(folder).records.values():
            assert Path(f"/proc/{record.process.pid}").owner() == "nobody"
    finally:
        down(folder, print)
