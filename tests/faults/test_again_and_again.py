"""What could go round in circles: a store that stays away, a step that kills whoever takes it."""

import pytest

from tests.faults.ends import end_of
from tests.faults.outcome import check_picture, left
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SMALL = {"prompt": "islands", "height": 96, "width": 96, "tile": 64, "overlap": 16, "nsr": 0.25}
LARGER = SMALL | {"height": 128, "width": 128}
DEADLY = "before-put-canvas"
HAND_BACKS = 2


@pytest.fixture(scope="module")
def field(new_field):
    """Workers that are patient for a second or two, whose life or death shows soon, and of whom a
    second death is enough."""
    limits = {"MAX_RETRIES": "1", "RETRY_BASE_S": "0.1", "RETRY_CAP_S": "0.2"}
    limits |= {"HEARTBEAT_S": "0.5", "MAX_WORKER_DEATHS": "1"}
    settings = {f"TILECHORD_{name}": value for name, value in limits.items()}
    return new_field({"control": "control", "w1": "gpu"}, tile_ms="200-300", **settings)


@pytest.mark.parametrize("node", ["control", "w1"])
def test_an_outage_of_the_store_fails_no_job_however_long_it_lasts(field, order, node):
    link, log = field.ground.links[node].s3, field.fleet.nodes[node].log

    link.refuse()
    assert order(f"outage-{node}", LARGER | {"seed": len(node)}) == "taken"
    wait_for(lambda: log.read_text().count("message.handed_back") >= HAND_BACKS, limit_s=60)
    link.heal()

    check_picture(field, f"outage-{node}")
    assert wait_for(lambda: not left(field), limit_s=30)


def ended_under_fire(field, job_id):
    """Whether the job has ended; until then whoever comes to its merge dies."""
    if end_of(field.runtime.ledger, job_id):
        return True
    if not field.fleet.nodes["control"].armed.exists():
        field.fleet.arm("control", DEADLY)
    return False


def test_a_merge_that_kills_its_workers_ends_its_job_and_others_are_served(field, order):
    field.fleet.arm("control", DEADLY)
    assert order("deadly", SMALL | {"seed": 1}) == "taken"

    wait_for(lambda: ended_under_fire(field, "deadly"), limit_s=150)
    field.fleet.nodes["control"].armed.unlink(missing_ok=True)
    assert order("other", SMALL | {"seed": 2}) == "taken"

    check_picture(field, "other")
    reason = field.runtime.ledger.failure("deadly")
    assert reason == "merge 0 of image 0: quarantined, 1 workers died of it"
    assert 2 <= len(field.history.events("crash")) <= 3  # of a first delivery nothing is recorded
    assert wait_for(lambda: not left(field), limit_s=30)
