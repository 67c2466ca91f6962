import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cluster.process import identify
from app.nodes import read_nodes
from app.queues import check_broker
from tests.support.cluster import Cluster, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parent.parent.parent
HEARTBEAT_S = 0.3
LONG = {"prompt": "a lake", "width": 128, "height": 128, "mode": "direct", "steps": 500}


@pytest.fixture(scope="module")
def cluster(services, cluster_env, tmp_path_factory):
    env = cluster_env | services.new_installation(
        TILECHORD_HEARTBEAT_S=str(HEARTBEAT_S),
    )
    started = Cluster(env, tmp_path_factory.mktemp("logs"))
    check_broker(started.runtime.settings)  # as `tilechord worker` does: declares all queues
    with running(started, {"control": "control"}):
        yield started


@pytest.fixture
def autoscale(cluster, tmp_path):
    """Starts the command; whatever it started ends with the test."""
    started = []

    def start(*options):
        log = (tmp_path / "log").open("wb")
        command = [sys.executable, "-m", "app.cli", "autoscale", "--pool", "gpu", *options]
        env = os.environ | cluster.env | {"TILECHORD_THREADS": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=60)


def gpu_nodes(cluster):
    nodes = read_nodes(cluster.runtime.board, HEARTBEAT_S)
    return [node for node in nodes if node.pool == "gpu" and not node.is_lost]


def test_a_pool_grows_from_nothing_with_its_work_and_shrinks_to_nothing_without(cluster, autoscale):
    options = ("--min", "0", "--max", "2", "--target-s", "0.2", "--cooldown-s", "3")
    scaler = autoscale(*options, "--grace-s", "30")
    job = cluster.client("submit", LONG)["job_id"]

    wait_for(lambda: gpu_nodes(cluster), limit_s=60)
    wait_for(lambda: cluster.runtime.ledger.has_result(job), limit_s=120)
    wait_for(lambda: not gpu_nodes(cluster), limit_s=60)

    assert scaler.poll() is None


def test_the_end_of_the_autoscaler_ends_its_workers(cluster, autoscale):
    scaler = autoscale("--min", "1", "--max", "1", "--grace-s", "30")
    [node] = wait_for(lambda: gpu_nodes(cluster), limit_s=60)

    scaler.send_signal(signal.SIGTERM)

    assert scaler.wait(timeout=60) == 0
    assert gpu_nodes(cluster) == []
    with pytest.raises(ProcessLookupError):
        os.kill(node.pid, 0)


def test_an_autoscaler_that_is_killed_leaves_no_worker_behind(cluster, autoscale):
    scaler = autoscale("--min", "1", "--max", "1")
    [node] = wait_for(lambda: gpu_nodes(cluster), limit_s=60)
    worker = identify(node.pid)

    scaler.send_signal(signal.SIGKILL)

    wait_for(lambda: identify(node.pid) != worker, limit_s=60)
    assert gpu_nodes(cluster) == []  # it drained: one that is killed is shown for a while
