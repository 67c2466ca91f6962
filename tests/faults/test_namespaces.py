"""The link of a worker's own network namespace goes down: packets vanish, and no socket is told."""

import fcntl
import signal
import socket
import struct
import termios
import time
from pathlib import Path

import pytest

from app.cluster.ports import LOOPBACK
from tests.faults.namespaces import Namespace, is_permitted
from tests.faults.outcome import check_end, check_picture
from tests.faults.proxy import Proxy
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not is_permitted(), reason="a network namespace needs CAP_SYS_ADMIN"),
]

SENT = b"a tile"
STAYS_S = 1.0
SHORT_S = 5.0
SOON_S = 25.0
"""RabbitMQ itself needs at least 30 s to notice that a worker is gone."""


@pytest.fixture
def namespace():
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def wire(namespace):
    """A client inside, the server that it reaches outside, and the proxy between them."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        proxy = Proxy(listener.getsockname(), namespace.listener())
        with namespace.run(lambda: socket.create_connection((LOOPBACK, proxy.port))) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(10)
                yield client, server, proxy
        proxy.close()


@pytest.fixture(scope="module")
def field(new_field):
    """The rendering worker has a namespace of its own."""
    return new_field(
        {"control": "control", "w1": "gpu"},
        tile_ms="50-150",
        prepare=lambda ground: ground.isolate("w1"),
    )


@pytest.fixture
def link(field):
    """The worker's; it is whole again at the latest when the test ends."""
    namespace = field.ground.links["w1"].namespace
    yield namespace
    namespace.heal()


def unacknowledged(client):
    """Bytes that were sent and that the other end's kernel has not confirmed."""
    return struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0]


def test_a_link_that_is_down_acknowledges_nothing_and_loses_no_connection(namespace, wire):
    client, server, _ = wire
    namespace.cut()

    client.sendall(SENT)
    time.sleep(STAYS_S)
    assert unacknowledged(client) == len(SENT)
    namespace.heal()

    assert server.recv(100) == SENT
    assert wait_for(lambda: unacknowledged(client) == 0)


def test_a_silent_proxy_acknowledges_what_it_holds_back(wire):
    client, server, proxy = wire
    server.settimeout(STAYS_S)
    proxy.blackhole()

    client.sendall(SENT)

    assert wait_for(lambda: unacknowledged(client) == 0)
    with pytest.raises(TimeoutError):
        server.recv(100)


def test_nobody_answers_a_new_connection_over_a_link_that_is_down(namespace, wire):
    _, _, proxy = wire
    namespace.cut()

    with pytest.raises(TimeoutError):
        namespace.run(lambda: socket.create_connection((LOOPBACK, proxy.port), STAYS_S))


def test_a_worker_and_its_successor_live_in_their_namespace(field, link):
    fleet, node = field.fleet, field.fleet.nodes["w1"]
    first = node.pid
    before = network_of(first)

    fleet.signal("w1", signal.SIGKILL)
    fleet.wait(lambda: node.pid not in {0, first} and node.is_ready, "w1 works again", 90)

    assert before == network_of(node.pid) == Path(link.path).stat().st_ino
    assert before != network_of(field.fleet.nodes["control"].pid) == network_of("self")


def test_a_worker_outlives_a_short_cut(field, start_job, link):
    start_job("short")

    link.cut()
    time.sleep(SHORT_S)  # the fault's own length
    assert not field.runtime.ledger.has_result("short")
    link.heal()

    check_end(field, "short")


def test_what_a_worker_behind_a_dead_link_had_goes_to_another(
    field, start_job, link, second_worker
):
    start_job("away")

    link.cut()
    check_picture(field, "away", limit_s=SOON_S)
    link.heal()
    second_worker()
    start_job("back")

    check_end(field, "away")
    check_end(field, "back")


def network_of(process):
    return Path(f"/proc/{process}/ns/net").stat().st_ino
