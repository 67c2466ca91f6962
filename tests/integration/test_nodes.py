import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.nodes import NODES, NodeState, read_nodes
from tests.support.cluster import Cluster, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parent.parent.parent
HEARTBEAT_S = 0.3
LONG = {"prompt": "a lake", "width": 128, "height": 128, "mode": "direct", "steps": 500}


@pytest.fixture(scope="module")
def env(services, cluster_env):
    return cluster_env | services.new_installation(
        TILECHORD_HEARTBEAT_S=str(HEARTBEAT_S),
        TILECHORD_LABELS='{"rack": "3"}',
        TILECHORD_NODE_WEIGHT="2.5",
    )


@pytest.fixture(scope="module")
def cluster(env, tmp_path_factory):
    pools = {"control": "control", "w1": "gpu"}
    with running(Cluster(env, tmp_path_factory.mktemp("logs")), pools) as started:
        yield started


def listed(env, *options):
    """What `tilechord workers` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "workers", *options],
        env=os.environ | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def nodes(cluster):
    """The registered nodes, by the name that they were started under."""
    found = read_nodes(cluster.runtime.board, HEARTBEAT_S)
    return {node.node.partition("@")[0]: node for node in found}


def wait_for_tile(cluster, name):
    """The node once it renders a tile."""
    return wait_for(
        lambda: (unit := (node := nodes(cluster)[name]).current) and unit.stage == "tile" and node,
        limit_s=60,
    )


def test_every_worker_registers_itself_with_what_it_has(cluster):
    wait_for(lambda: set(nodes(cluster)) == {"control", "w1"})

    control, gpu = nodes(cluster)["control"], nodes(cluster)["w1"]

    assert (control.pool, control.device, control.memory_gb) == ("control", "", 0.0)
    assert (gpu.pool, gpu.device, gpu.pid) == ("gpu", "cpu", cluster.workers["w1"].pid)
    assert 0 < gpu.free_memory_gb <= gpu.memory_gb
    assert (gpu.labels, gpu.weight, gpu.state) == ({"rack": "3"}, 2.5, NodeState.READY)


def test_what_a_rendering_worker_has_installed_is_listed_and_other_models_are_refused(cluster, env):
    installed = wait_for(lambda: nodes(cluster)["w1"].installed)
    rows = json.loads(listed(env, "--json"))

    assert installed["model"].keys() >= {"atlas", env["TILECHORD_MODEL"]}
    assert [row["installed"] for row in rows] == [{}, installed]
    with pytest.raises(AssertionError, match="model mona is on none of 1 live workers of pool gpu"):
        cluster.client("submit", LONG | {"model": "mona"})


def test_a_node_beats_and_shows_its_unit_while_it_renders(cluster, env):
    job = cluster.client("submit", LONG)["job_id"]

    busy = wait_for_tile(cluster, "w1")
    [row] = [line.split("\t") for line in listed(env).splitlines() if line.startswith("w1@")]
    cluster.runtime.ledger.cancel(job)

    assert (busy.current.job_id, busy.current.index) == (job, 0)
    assert busy.age_s < 3 * HEARTBEAT_S
    assert busy.models == [cluster.env["TILECHORD_MODEL"]]
    assert row[1:3] == ["ready", "gpu"]
    assert row[6:8] == ["rack=3", f"tile 0 of image 0 of {job}"]
    wait_for(lambda: nodes(cluster)["w1"].current is None)


def test_a_node_counts_the_units_it_has_rendered(cluster):
    before = nodes(cluster)["w1"].units_done

    units = cluster.client("render", {"prompt": "a map", "width": 64, "height": 64})["units"]

    wait_for(lambda: nodes(cluster)["w1"].units_done == before + units)


def test_the_list_is_json_for_scripts(cluster, env):
    wait_for(lambda: set(nodes(cluster)) == {"control", "w1"})

    rows = json.loads(listed(env, "--json"))

    assert [row["node"].partition("@")[0] for row in rows] == ["control", "w1"]
    assert (rows[1]["state"], rows[1]["is_lost"], rows[1]["labels"]) == (
        "ready",
        False,
        {"rack": "3"},
    )


def test_a_frozen_node_is_lost_within_three_heartbeats_and_comes_back(cluster, env):
    process = cluster.workers["w1"]
    wait_for(lambda: not nodes(cluster)["w1"].is_lost)
    process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: nodes(cluster)["w1"].is_lost, limit_s=3 * HEARTBEAT_S + 2)
        [row] = [line.split("\t") for line in listed(env).splitlines() if line.startswith("w1@")]
    finally:
        process.send_signal(signal.SIGCONT)

    assert row[1] == "lost"
    wait_for(lambda: not nodes(cluster)["w1"].is_lost)


def test_a_killed_node_is_lost_and_stays_listed(cluster):
    cluster.start_all({"w2": "gpu"})
    wait_for(lambda: "w2" in nodes(cluster))

    cluster.kill("w2")

    wait_for(lambda: nodes(cluster)["w2"].is_lost)
    cluster.runtime.board.hide(NODES, nodes(cluster)["w2"].node)


def test_a_worker_that_is_stopped_drains_and_then_is_gone(cluster):
    cluster.start_all({"w3": "gpu"})
    cluster.stop("w1")
    job = cluster.client("submit", LONG | {"seed": 3})["job_id"]
    wait_for_tile(cluster, "w3")
    process = cluster.workers.pop("w3")

    process.send_signal(signal.SIGTERM)

    draining = wait_for(lambda: (n := nodes(cluster)["w3"]).state == NodeState.DRAINING and n)
    assert (draining.reason, draining.current is not None) == ("SIGTERM", True)
    cluster.runtime.ledger.cancel(job)
    assert process.wait(timeout=60) == 0
    assert "w3" not in nodes(cluster)
    cluster.start_all({"w1": "gpu"})


def test_a_registry_that_was_wiped_fills_itself_again(cluster, redis_flush):
    redis_flush()

    wait_for(lambda: set(nodes(cluster)) == {"control", "w1"})
