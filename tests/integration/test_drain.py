import signal

import pytest

from app.nodes import read_nodes
from tests.support.cluster import Cluster, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration
HEARTBEAT_S = 0.3
LONG = {"prompt": "a lake", "width": 128, "height": 128, "mode": "direct", "steps": 500}


@pytest.fixture(scope="module")
def cluster(services, cluster_env, tmp_path_factory):
    env = cluster_env | services.new_installation(
        TILECHORD_HEARTBEAT_S=str(HEARTBEAT_S),
    )
    with running(Cluster(env, tmp_path_factory.mktemp("logs")), {"control": "control"}) as started:
        yield started


def current(cluster, name):
    """The unit that node *name* works on."""
    for node in read_nodes(cluster.runtime.board, HEARTBEAT_S):
        if node.node.startswith(f"{name}@") and not node.is_lost:
            return node.current
    return None


def wait_for_tile(cluster, name):
    return wait_for(
        lambda: (unit := current(cluster, name)) and unit.stage == "tile" and unit, limit_s=60
    )


def tile_runs(cluster, job):
    return [run for run in cluster.runs(job) if "tile" in run.unit]


def test_a_spot_notice_gives_the_running_unit_to_another_worker(cluster):
    cluster.start_all({"spot": "gpu"})
    job = cluster.client("submit", LONG | {"seed": 21})["job_id"]
    wait_for_tile(cluster, "spot")
    process = cluster.workers.pop("spot")

    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=30) == 0

    assert tile_runs(cluster, job) == []
    cluster.start_all({"other": "gpu"})
    wait_for(lambda: cluster.runtime.ledger.has_result(job), limit_s=120)
    assert [run.worker.partition("-")[0] for run in tile_runs(cluster, job)] == ["other"]
    cluster.stop("other")


def test_a_stopped_worker_finishes_its_unit_and_nobody_renders_it_again(cluster):
    cluster.start_all({"first": "gpu"})
    job = cluster.client("submit", LONG | {"seed": 22})["job_id"]
    wait_for_tile(cluster, "first")

    cluster.stop("first")

    assert [run.worker.partition("-")[0] for run in tile_runs(cluster, job)] == ["first"]
    cluster.start_all({"second": "gpu"})
    wait_for(lambda: cluster.runtime.ledger.has_result(job), limit_s=120)
    assert len(tile_runs(cluster, job)) == 1
    cluster.stop("second")


def test_a_unit_without_end_ends_its_worker_and_goes_to_another(cluster, tmp_path):
    hasty = Cluster(cluster.env | {"TILECHORD_UNIT_TIMEOUT_S": "1"}, tmp_path)
    with running(hasty, {"hasty": "gpu"}):
        job = hasty.client("submit", LONG | {"seed": 23})["job_id"]

        assert hasty.workers["hasty"].wait(timeout=60) == 75

        assert b"unit.endless" in next(tmp_path.glob("hasty.*.log")).read_bytes()
    cluster.start_all({"patient": "gpu"})
    wait_for(lambda: cluster.runtime.ledger.has_result(job), limit_s=120)
    cluster.stop("patient")
