"""The network between a node and a server goes silent, one way or both, and comes back."""

import time

import pytest

from tests.faults.outcome import check_end, check_picture
from tests.faults.proxy import Way

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SMALL = {"prompt": "islands", "height": 96, "width": 96, "tile": 64, "overlap": 16, "nsr": 0.25}
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", ["broker", "s3"])
def test_a_worker_outlives_a_short_silence(field, start_job, silence, server, way):
    job_id = f"short-{server}-{way}"
    start_job(job_id)

    link = silence("w1", server, way)
    time.sleep(SHORT_S)  # the fault's own length
    link.heal()

    check_end(field, job_id)


def test_nodes_outlive_a_long_silence(field, start_job, silence):
    start_job("long")

    cut = [silence("w1", "broker"), silence("w1", "s3"), silence("control", "broker")]
    time.sleep(LONG_S)
    assert not field.runtime.ledger.has_result("long")
    for link in cut:
        link.heal()

    check_end(field, "long")


def test_a_worker_outlives_connections_that_the_store_has_forgotten(field, start_job, link_of):
    start_job("forgotten")

    link_of("w1", "s3").half_open()

    check_end(field, "forgotten")


@pytest.mark.usefixtures("second_worker")
def test_what_a_silent_node_had_goes_to_another(field, start_job, silence):
    start_job("away")

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
