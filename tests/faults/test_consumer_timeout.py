"""RabbitMQ closes the channel of a worker that keeps a delivery for too long."""

import pytest

from tests.faults.outcome import check_picture
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

REQUEST = {"prompt": "islands", "height": 96, "width": 96, "tile": 64, "overlap": 16, "nsr": 0.25}
TIMEOUT_MS, LOOK_MS, UNIT_MS = 1500, 500, 3000


def shorten_patience(ground):
    """For connections to come; RabbitMQ's own values are half an hour and a minute."""
    for name, value in (("consumer_timeout", TIMEOUT_MS), ("channel_tick_interval", LOOK_MS)):
        ground.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")


@pytest.fixture(scope="module")
def field(new_field):
    return new_field(
        {"control": "control", "w1": "gpu"}, tile_ms=str(UNIT_MS), prepare=shorten_patience
    )


def test_a_job_whose_units_outlive_the_timeout_ends(field, order):
    log = field.fleet.nodes["w1"].log
    assert order("slow", REQUEST) == "taken"

    wait_for(lambda: "PRECONDITION_FAILED" in log.read_text(), limit_s=60)

    check_picture(field, "slow", limit_s=200)
    begun = [event["unit"] for event in field.history.events("start")]
    assert len(begun) <= 2 * len(set(begun))
