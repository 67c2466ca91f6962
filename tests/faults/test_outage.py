"""The store is away for longer than anybody's patience, and comes back."""

import pytest

from tests.faults.outcome import check_picture, left
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

REQUEST = {"prompt": "islands", "height": 128, "width": 128, "tile": 64, "overlap": 16, "nsr": 0.25}
HAND_BACKS = 2


@pytest.fixture(scope="module")
def field(new_field):
    """Workers that are patient for a second or two."""
    patience = {"MAX_RETRIES": "1", "RETRY_BASE_S": "0.1", "RETRY_CAP_S": "0.2"}
    settings = {f"TILECHORD_{name}": value for name, value in patience.items()}
    return new_field({"control": "control", "w1": "gpu"}, tile_ms="200-300", **settings)


@pytest.mark.parametrize("node", ["control", "w1"])
def test_an_outage_of_the_store_fails_no_job_however_long_it_lasts(field, order, node):
    link, log = field.ground.links[node].s3, field.fleet.nodes[node].log

    link.refuse()
    assert order(f"outage-{node}", REQUEST | {"seed": len(node)}) == "taken"
    wait_for(lambda: log.read_text().count("message.handed_back") >= HAND_BACKS, limit_s=60)
    link.heal()

    check_picture(field, f"outage-{node}")
    assert wait_for(lambda: not left(field), limit_s=30)
