"""Faults do what they are named after, and what they hurt works again afterwards."""

import json
import subprocess
from pathlib import Path
from random import Random

import pytest
import redis
from kombu import Connection

from app.domain.errors import CorruptBlobError, StorageUnavailableError
from app.domain.work import Stage, Work
from app.planning import plan_request
from app.queues import queue_name, queues
from app.schemas import read_request
from tests.faults.nemesis import MissedError
from tests.faults.renderer import clean_pictures
from tests.faults.requests import request_of
from tests.faults.schedule import ALL
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


POOLS = {"control": ["plan.*", "finish.*"], "gpu": ["*.*"], "idle": ["tile.never"]}


@pytest.fixture(scope="module")
def field(new_field):
    """Servers and one worker whose queue stays empty, so that nothing else moves."""
    field = new_field({"w1": "idle"}, TILECHORD_POOLS=json.dumps(POOLS))
    field.ground.env("client")
    declare_queues(field.ground)
    return field


@pytest.fixture
def strike(field):
    """Injects a fault by name; it is healed at the latest when the test ends."""
    healing = []

    def hurt(name, seed=1):
        nemesis = ALL[name](field)
        healing.append(nemesis)
        return nemesis, nemesis.inject(Random(seed))

    yield hurt
    for nemesis in healing:
        nemesis.heal()


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("name", ["worker-kill", "worker-drain"])
def test_a_worker_that_is_gone_has_a_successor(name, field, strike):
    before = field.fleet.nodes["w1"].pid

    nemesis, told = strike(name)
    nemesis.heal()

    assert told == {"node": "w1", "process": before}
    assert field.fleet.nodes["w1"].pid not in {0, before}
    assert field.fleet.nodes["w1"].is_ready


def test_a_paused_worker_is_the_same_afterwards(field, strike):
    before = field.fleet.nodes["w1"].pid

    nemesis, _ = strike("worker-pause")
    wait_for(lambda: state_of(before) == "T")
    nemesis.heal()

    wait_for(lambda: state_of(before) != "T")
    assert field.fleet.nodes["w1"].pid == before


def test_a_crash_point_that_was_not_reached_is_disarmed(field, strike):
    nemesis, _ = strike("worker-crash")
    assert field.fleet.nodes["w1"].armed.exists()

    nemesis.heal()

    assert not field.fleet.nodes["w1"].armed.exists()


def test_a_clock_is_right_again_after_it_was_wrong(field, strike):
    nemesis, told = strike("clock-skew")
    assert abs(told["seconds"]) >= 60

    nemesis.heal()

    assert "TILECHORD_FAULT_CLOCK_S" not in field.fleet.nodes["w1"].env
    assert field.fleet.nodes["w1"].is_ready


def test_a_killed_broker_keeps_its_messages(field, strike):
    put_messages(field, 3)
    before = field.ground.broker.pid

    nemesis, _ = strike("broker-kill")
    nemesis.heal()

    assert field.ground.broker.pid != before
    assert messages(field) == 3
    drop_messages(field)


@pytest.mark.parametrize("name", ["memory-alarm", "disk-alarm"])
def test_a_broker_under_an_alarm_confirms_nothing(name, field, strike):
    nemesis, _ = strike(name)
    with pytest.raises((TimeoutError, OSError)):
        put_messages(field, 1)

    nemesis.heal()

    drop_messages(field)
    put_messages(field, 1)
    assert messages(field) == 1
    drop_messages(field)


def test_a_message_is_delivered_more_than_once(field, strike):
    put_messages(field, 1)

    _, told = strike("duplicate-delivery")

    wait_for(lambda: messages(field) == 1 + told["copies"])
    drop_messages(field)


def test_an_empty_queue_has_nothing_to_purge(strike):
    with pytest.raises(MissedError):
        strike("purge")


def test_purged_messages_are_gone(field, strike):
    put_messages(field, 2)

    _, told = strike("purge")

    assert told == {"messages": 2}
    assert messages(field) == 0


def test_a_flushed_redis_is_empty(field, strike):
    url = field.ground.direct_env()["TILECHORD_RESULT_BACKEND"]
    with redis.Redis.from_url(url) as client:
        client.set("something", "1")

        strike("redis-flush")

        assert client.get("something") is None


@pytest.mark.parametrize("name", ["redis-kill", "s3-kill"])
def test_a_killed_server_keeps_what_it_has(name, field, strike):
    server = {"redis-kill": field.ground.redis, "s3-kill": field.ground.s3}[name]
    before = server.pid
    field.runtime.store.put(f"kept/{name}", b"x")

    nemesis, _ = strike(name)
    nemesis.heal()

    assert server.pid != before
    assert field.runtime.store.get(f"kept/{name}") == b"x"


@pytest.fixture
def tile(field):
    """A stored tile of a job that is open, and its plan."""
    request = read_request(request_of(1, 0))
    plan = plan_request(request, field.runtime.catalogue, field.runtime.settings)
    field.runtime.ledger.accept("open", request, plan)
    key = Work(Stage.TILE, 0).key(plan)
    field.runtime.store.put(key, b"latents")
    yield key
    field.runtime.store.delete(key)


def test_a_tile_vanishes_from_the_store(field, strike, tile):
    _, told = strike("blob-deleted")

    assert told["key"] == tile
    assert not field.runtime.store.exists(tile)


def test_a_tile_rots_where_it_lies(field, strike, tile):
    strike("blob-rotten")

    with pytest.raises(CorruptBlobError):
        field.runtime.store.get(tile)


def test_no_tile_vanishes_where_none_is_at_work(field, strike):
    # Accepted and not planned yet: there is nothing of it that could vanish.
    field.runtime.store.put("jobs/young/request.json", b"{}")

    with pytest.raises(MissedError):
        strike("blob-deleted")


@pytest.mark.parametrize(
    "name", sorted(name for name, nemesis in ALL.items() if nemesis.subject.endswith("-network"))
)
def test_a_network_is_good_again_when_it_is_healed(name, field, strike):
    nemesis, told = strike(name)
    assert told["node"] in field.ground.links

    nemesis.heal()

    env = field.ground.env(str(told["node"]))
    with Connection(env["TILECHORD_BROKER_URL"], connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=1)


def test_one_picture_is_a_function_of_its_plan(field):
    request = read_request(request_of(1, 2))
    plan = plan_request(request, field.runtime.catalogue, field.runtime.settings)

    first, second = clean_pictures(plan), clean_pictures(plan)

    assert first == second
    assert len(first) == plan.spec.count


@pytest.mark.skipif("os.geteuid() != 0", reason="mounting needs root")
def test_a_full_disk_refuses_a_blob_and_takes_it_when_there_is_room(tmp_path):
    from app.storage.folder import FolderStore

    root = tmp_path / "full"
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(root)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = FolderStore(root / "store")
        store.put("a", bytes(100_000))

        with pytest.raises(StorageUnavailableError):
            store.put("b", bytes(300_000))

        assert list(store.keys("")) == ["a"]
        assert list((root / "store" / ".tmp").iterdir()) == []
        store.delete("a")
        assert store.put("b", bytes(100_000))
    finally:
        subprocess.run(["umount", str(root)], check=True)


def declare_queues(ground):
    with Connection(ground.direct_env()["TILECHORD_BROKER_URL"]) as connection:
        for queue in queues(ground.direct_settings()):
            queue(connection.default_channel).declare()


def put_messages(field, count):
    options = {"confirm_publish": True, "read_timeout": 3, "write_timeout": 3}
    url = field.ground.direct_env()["TILECHORD_BROKER_URL"]
    with (
        Connection(url, transport_options=options) as connection,
        connection.Producer() as producer,
    ):
        for number in range(count):
            producer.publish({"number": number}, exchange="", routing_key=queue_name("gpu"))


def messages(field):
    return field.ground.messages()[queue_name("gpu")]


def drop_messages(field):
    url = field.ground.direct_env()["TILECHORD_BROKER_URL"]
    with Connection(url) as connection:
        connection.default_channel.queue_purge(queue_name("gpu"))
