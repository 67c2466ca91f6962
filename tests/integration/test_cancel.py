"""A worker hears of a job that is over before it would look by itself, and goes on with others."""

import pytest

from app.jobs import JobState
from app.nodes import read_nodes
from tests.support.private import PrivateCluster
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

SEED, TILE = 7, 3
REQUEST = {"prompt": "a map", "width": 128, "height": 128, "tile": 64, "overlap": 16, "nsr": 0.25}
ENDLESS = REQUEST | {"seed": SEED}


def is_at_hand(site):
    """Whether a rendering worker shows that it has the endless unit."""
    nodes = read_nodes(site.runtime.board, heartbeat_s=0.5)
    units = [unit for node in nodes for unit in node.at_hand if node.device]
    return any(TILE in (unit.index, *unit.more) for unit in units)


def test_a_worker_stops_in_the_middle_of_a_unit_and_goes_on_with_another_job(services, tmp_path):
    site = PrivateCluster(services, tmp_path)
    with site.control(), site.worker("gpu", "endless", seed=SEED, tile=TILE) as worker:
        job_id = site.submit(ENDLESS)
        wait_for(lambda: is_at_hand(site), limit_s=60)

        site.python("-m", "tests.support.client", "cancel", job_id)
        other = site.submit(REQUEST | {"seed": SEED + 1})

        assert site.wait_for_end(other).state is JobState.SUCCEEDED
        assert site.wait_for_end(job_id).state is JobState.CANCELLED
        assert worker.ends == []


def test_a_worker_stops_in_the_middle_of_a_unit_whose_job_failed_elsewhere(services, tmp_path):
    site = PrivateCluster(services, tmp_path)
    with site.control(), site.worker("gpu", "endless", seed=SEED, tile=TILE) as worker:
        job_id = site.submit(ENDLESS)
        wait_for(lambda: is_at_hand(site), limit_s=60)

        with site.worker("other", "broken", seed=SEED, tile=TILE + 1):
            assert site.wait_for_end(job_id).state is JobState.FAILED
            wait_for(lambda: not is_at_hand(site), limit_s=30)

        other = site.submit(REQUEST | {"seed": SEED + 1})
        assert site.wait_for_end(other).state is JobState.SUCCEEDED
        assert worker.ends == []
