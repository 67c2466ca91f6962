"""A process dies at each named place in turn; the job it worked on ends with the same picture."""

from pathlib import Path

import pytest

from tests.faults.crash_points import CONTROL_POINTS, WORKER_POINTS
from tests.faults.outcome import check_picture
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
REQUEST = {
    "prompt": "islands",
    "height": 112,
    "width": 112,
    "tile": 64,
    "overlap": 16,
    "mode": "phased",
    "steps": 2,
}


def crashes(field):
    return {(event["node"], event["point"]) for event in field.history.events("crash")}


POINTS = [("w1", point) for point in WORKER_POINTS] + [
    ("control", point) for point in CONTROL_POINTS
]


@pytest.mark.parametrize(
    ("number", "node", "point"),
    [(number, *each) for number, each in enumerate(POINTS)],
    ids=[f"{node}-{point}" for node, point in POINTS],
)
def test_a_job_survives_a_death_at(number, node, point, field, order):
    job_id = f"crash-{number:03d}"
    field.fleet.wait_ready(node)
    field.fleet.arm(node, point)

    assert order(job_id, REQUEST | {"seed": number}) == "taken"
    wait_for(lambda: (node, point) in crashes(field), limit_s=60)

    check_picture(field, job_id)
