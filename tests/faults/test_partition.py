"""The network between a node and a server goes silent, one way or both, and comes back."""

import signal
import time

import pytest

from tests.faults.outcome import check_picture, left
from tests.faults.proxy import Way
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

REQUEST = {"prompt": "islands", "height": 256, "width": 256, "tile": 64, "overlap": 16, "nsr": 0.25}
SMALL = REQUEST | {"height": 96, "width": 96}
SHORT_S, LONG_S = 5.0, 30.0
SOON_S = 25.0
"""RabbitMQ itself needs at least 30 s to notice that a worker is silent."""
WAYS = {"up": [Way.UP], "down": [Way.DOWN], "both": list(Way)}


@pytest.fixture(scope="module")
def field(new_field):
    """One worker, so that nobody takes over what it cannot do."""
    return new_field({"control": "control", "w1": "gpu"}, tile_ms="50-150")


@pytest.fixture
def link_of(field):
    """A node's link to a server; it is whole again at the latest when the test ends."""
    used = []

    def find(node, server):
        used.append(field.ground.links[node].proxies[server])
        return used[-1]

    yield find
    for proxy in used:
        proxy.heal()


@pytest.fixture
def silence(link_of):
    """Cuts a node's link to a server."""

    def begin(node, server, way="both"):
        proxy = link_of(node, server)
        proxy.blackhole(*WAYS[way])
        return proxy

    return begin


@pytest.fixture
def second_worker(field):
    """One to take over, for a single test."""
    fleet = field.fleet
    fleet.start({"w2": "gpu"})
    yield
    fleet.retire("w2")
    fleet.signal("w2", signal.SIGTERM)
    fleet.wait(lambda: not fleet.nodes["w2"].pid, "w2 has gone", 60)


def begun(field, job_id, node):
    """Whether the worker has begun to render the job."""
    ledger = field.runtime.ledger
    if not ledger.has_plan(job_id):
        return False
    wanted = (ledger.plan(job_id).hash, node)
    return any((event["plan"], event["node"]) == wanted for event in field.history.events("start"))


def start_job(field, order, job_id, node="w1"):
    seed = len(field.runtime.ledger.job_ids())
    assert order(job_id, REQUEST | {"seed": seed}) == "taken"
    wait_for(lambda: begun(field, job_id, node), limit_s=60)


def check_end(field, job_id):
    check_picture(field, job_id, limit_s=90)
    assert wait_for(lambda: not left(field), limit_s=60)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", ["broker", "s3"])
def test_a_worker_outlives_a_short_silence(field, order, silence, server, way):
    job_id = f"short-{server}-{way}"
    start_job(field, order, job_id)

    link = silence("w1", server, way)
    time.sleep(SHORT_S)  # the fault's own length
    link.heal()

    check_end(field, job_id)


def test_nodes_outlive_a_long_silence(field, order, silence):
    start_job(field, order, "long")

    cut = [silence("w1", "broker"), silence("w1", "s3"), silence("control", "broker")]
    time.sleep(LONG_S)
    assert not field.runtime.ledger.has_result("long")
    for link in cut:
        link.heal()

    check_end(field, "long")


def test_a_worker_outlives_connections_that_the_store_has_forgotten(field, order, link_of):
    start_job(field, order, "forgotten")

    link_of("w1", "s3").half_open()

    check_end(field, "forgotten")


@pytest.mark.usefixtures("second_worker")
def test_what_a_silent_node_had_goes_to_another(field, order, silence):
    start_job(field, order, "away")

    cut = [silence("w1", server) for server in ("broker", "redis", "s3")]

    check_picture(field, "away", limit_s=SOON_S)
    for link in cut:
        link.heal()
    check_end(field, "away")


@pytest.mark.parametrize("way", WAYS)
def test_an_order_that_does_not_get_through_is_refused_and_can_be_given_again(
    field, order, silence, way
):
    request, job_id = SMALL | {"seed": len(way)}, f"order-{way}"
    assert order(f"before-{way}", request) == "taken"

    link = silence("client", "broker", way)
    began = time.monotonic()
    assert order(job_id, request) == "refused"
    took_s = time.monotonic() - began
    link.heal()
    assert order(job_id, request) == "taken"

    check_end(field, job_id)
    assert took_s < 10
