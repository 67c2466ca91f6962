"""A step of a control worker that hangs: its thread is the only one there is for all jobs."""

import pytest

from tests.faults.crash_points import HANG
from tests.faults.ends import end_of
from tests.faults.outcome import check_picture, left
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SMALL = {"prompt": "islands", "height": 96, "width": 96, "tile": 64, "overlap": 16, "nsr": 0.25}
STEPS = ["plan", "picture"]
MERGE = "before-put-canvas"
ENDLESS_EXIT = 75


@pytest.fixture(scope="module")
def field(new_field):
    """One control worker, which nothing may take for two seconds; a second death is enough."""
    limits = {"UNIT_TIMEOUT_S": "2", "HEARTBEAT_S": "0.5", "MAX_WORKER_DEATHS": "1"}
    settings = {f"TILECHORD_{name}": value for name, value in limits.items()}
    return new_field({"control": "control", "w1": "gpu"}, **settings)


def hangs(field):
    return [(event["node"], event["point"]) for event in field.history.events(HANG)]


def exits(field):
    """How control workers ended so far."""
    return [event["code"] for event in field.history.events("died") if event["node"] == "control"]


@pytest.mark.parametrize("step", STEPS)
def test_what_hangs_once_is_done_by_the_next_worker_and_keeps_back_no_other(field, order, step):
    point, before = f"before-put-{step}", len(exits(field))
    field.fleet.arm("control", point, end=HANG)
    assert order(f"hanging-{step}", SMALL | {"seed": 10 + STEPS.index(step)}) == "taken"
    wait_for(lambda: ("control", point) in hangs(field), limit_s=60)
    assert order(f"beside-{step}", SMALL | {"seed": 20 + STEPS.index(step)}) == "taken"

    check_picture(field, f"beside-{step}")
    check_picture(field, f"hanging-{step}")
    assert exits(field)[before:] == [ENDLESS_EXIT]
    assert hangs(field).count(("control", point)) == 1


def ended_under_fire(field, job_id):
    """Whether the job has ended; until then whoever comes to its merge hangs."""
    if end_of(field.runtime.ledger, job_id):
        return True
    if not field.fleet.nodes["control"].armed.exists():
        field.fleet.arm("control", MERGE, end=HANG)
    return False


def test_a_merge_that_hangs_every_time_ends_its_job_and_others_are_served(field, order):
    before = len(exits(field))
    field.fleet.arm("control", MERGE, end=HANG)
    assert order("deadly", SMALL | {"seed": 1}) == "taken"

    wait_for(lambda: ended_under_fire(field, "deadly"), limit_s=120)
    field.fleet.nodes["control"].armed.unlink(missing_ok=True)
    assert order("other", SMALL | {"seed": 2}) == "taken"

    check_picture(field, "other")
    reason = field.runtime.ledger.failure("deadly")
    assert reason == "merge 0 of image 0: quarantined, 1 workers died of it"
    assert set(exits(field)[before:]) == {ENDLESS_EXIT}
    assert 2 <= len(exits(field)[before:]) <= 3  # of a first delivery nothing is recorded
    assert wait_for(lambda: not left(field), limit_s=30)
