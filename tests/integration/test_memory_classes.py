import pytest

from app.exits import WORKER_LOST
from app.jobs import JobState
from app.manifests import read_runs
from tests.support.private import PrivateCluster
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

SEED, TILE = 7, 3
REQUEST = {
    "seed": SEED,
    "prompt": "a map",
    "width": 256,
    "height": 192,
    "tile": 64,
    "overlap": 16,
    "nsr": 0.25,
}
POOLS = """{
    "control": ["plan.*", "finish.*"],
    "gpu": ["base.*", "tile.*", "upscale.*"],
    "large": []
}"""


def test_a_unit_that_does_not_fit_is_rendered_in_the_bigger_pool(services, tmp_path):
    site = PrivateCluster(
        services, tmp_path, TILECHORD_POOLS=POOLS, TILECHORD_BIGGER_POOL='{"gpu": "large"}'
    )
    small = site.worker("small", "memory", seed=SEED, tile=TILE)
    with site.control(), small, site.worker("large", pool="large"):
        job_id = site.submit(REQUEST)

        assert site.wait_for_end(job_id).state is JobState.SUCCEEDED
        assert set(site.executed(job_id).values()) == {1}
        assert rendered_by(site, job_id, "large") == {f"image-0000/phase-0/tile-{TILE:05d}"}


@pytest.mark.parametrize("fault", ["memory", "limit"])
def test_without_a_bigger_pool_the_job_ends_with_the_tile_and_the_memory(services, tmp_path, fault):
    site = PrivateCluster(services, tmp_path, TILECHORD_RETRY_BASE_S="0.05")
    with site.control(), site.worker("small", fault, seed=SEED, tile=TILE) as worker:
        job_id = site.submit(REQUEST)

        ended = site.wait_for_end(job_id)

        assert ended.state is JobState.FAILED
        assert ended.reason.startswith(f"tile {TILE} of image 0: cpu with ")
        assert ended.reason.endswith(" GB has too little memory")
        assert worker.is_running
        assert worker.ends == []


def test_a_worker_that_lost_its_device_ends_and_its_unit_goes_to_another(services, tmp_path):
    site = PrivateCluster(services, tmp_path)
    with site.control():
        with site.worker("broken", "context", seed=SEED, tile=TILE) as broken:
            job_id = site.submit(REQUEST)
            wait_for(lambda: broken.ends, limit_s=120)
        with site.worker("sound"):
            ended = site.wait_for_end(job_id)

    assert broken.ends[0] == WORKER_LOST
    assert ended.state is JobState.SUCCEEDED
    assert set(site.executed(job_id).values()) == {1}


def rendered_by(site, job_id, name):
    """The units that the worker of this name rendered."""
    plan = site.runtime.ledger.plan(job_id)
    runs = read_runs(site.runtime.store, plan)
    return {run.unit for run in runs if run.worker.startswith(name)}
