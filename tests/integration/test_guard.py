import json

import pytest

from app.nodes import NodeState, read_nodes
from tests.support.cluster import Cluster, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration
HEARTBEAT_S = 0.3
SMALL = {"prompt": "a lake", "width": 64, "height": 64}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """What the fake sensor of the worker tells."""
    return tmp_path_factory.mktemp("sensor") / "load"


@pytest.fixture(scope="module")
def cluster(services, cluster_env, load, tmp_path_factory):
    env = cluster_env | services.new_installation(
        TILECHORD_HEARTBEAT_S=str(HEARTBEAT_S),
        TILECHORD_SENSOR=f"file:{load}",
        TILECHORD_GPU_MEMORY_THRESHOLD="0.9",
        TILECHORD_LOAD_MARGIN="0.1",
    )
    pools = {"control": "control", "w1": "gpu"}
    with running(Cluster(env, tmp_path_factory.mktemp("logs")), pools) as started:
        yield started


def tell(load, gpu_memory):
    """Replace the file in one step, as a real agent would."""
    fresh = load.with_suffix(".new")
    fresh.write_text(json.dumps({"gpu_memory": gpu_memory}))
    fresh.replace(load)


def node(cluster):
    nodes = read_nodes(cluster.runtime.board, HEARTBEAT_S)
    return next((found for found in nodes if found.node.startswith("w1@")), None)


def consumers(cluster):
    """How many take from the GPU pool's queue, by the broker's own count."""
    queues = [name for names in cluster.inspect("active_queues").values() for name in names]
    return sum(queue["name"] == "render.gpu.v1" for queue in queues)


def test_an_overloaded_node_leaves_its_work_to_others_and_resumes_by_itself(cluster, load):
    tell(load, 0.97)
    wait_for(lambda: (w1 := node(cluster)) and w1.state == NodeState.PAUSED)
    wait_for(lambda: consumers(cluster) == 0, every_s=0.2)
    before = node(cluster).units_done
    job = cluster.client("submit", SMALL)["job_id"]

    tell(load, 0.85)  # below the limit, not below limit less margin
    paused = wait_for(lambda: "85%" in (w1 := node(cluster)).reason and w1)
    assert (paused.state, paused.units_done) == (NodeState.PAUSED, before)
    assert paused.reason == "GPU memory 85% in use by others, limit 90%"

    tell(load, 0.5)
    wait_for(lambda: node(cluster).state == NodeState.READY)
    wait_for(lambda: cluster.runtime.ledger.has_result(job), limit_s=60)
