"""A step that kills every control worker ends its own job, and no other."""

import pytest

from tests.faults.ends import end_of
from tests.faults.outcome import check_picture, left
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

REQUEST = {"prompt": "islands", "height": 96, "width": 96, "tile": 64, "overlap": 16, "nsr": 0.25}
DEADLY = "before-put-canvas"


@pytest.fixture(scope="module")
def field(new_field):
    """Nodes whose life or death shows soon, and of whom a second death is enough."""
    limits = {"TILECHORD_HEARTBEAT_S": "0.5", "TILECHORD_MAX_WORKER_DEATHS": "1"}
    return new_field({"control": "control", "w1": "gpu"}, **limits)


def ended_under_fire(field, job_id):
    """Whether the job has ended; until then whoever comes to its merge dies."""
    if end_of(field.runtime.ledger, job_id):
        return True
    if not field.fleet.nodes["control"].armed.exists():
        field.fleet.arm("control", DEADLY)
    return False


def test_a_merge_that_kills_its_workers_ends_its_job_and_others_are_served(field, order):
    field.fleet.arm("control", DEADLY)
    assert order("deadly", REQUEST | {"seed": 1}) == "taken"

    wait_for(lambda: ended_under_fire(field, "deadly"), limit_s=150)
    field.fleet.nodes["control"].armed.unlink(missing_ok=True)
    assert order("other", REQUEST | {"seed": 2}) == "taken"

    check_picture(field, "other")
    reason = field.runtime.ledger.failure("deadly")
    assert reason == "merge 0 of image 0: quarantined, 1 workers died of it"
    assert 2 <= len(field.history.events("crash")) <= 3  # of a first delivery nothing is recorded
    assert wait_for(lambda: not left(field), limit_s=30)
