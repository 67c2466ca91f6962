"""Strategies on a real broker: whose workers render what the settings give to whom."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest

from app.cli.serving import celery_arguments
from app.domain.work import Stage
from app.jobs import JobState
from app.manifests import read_runs
from app.nodes import read_nodes
from app.queues import queue_name
from tests.benchmarks.bench_schedule import order
from tests.support.private import PrivateCluster
from tests.support.tiny_model import build_tiny_model
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration
HEARTBEAT_S = 0.3
POOLS = {
    "control": ["plan.*", "finish.*"],
    "shares": ["base.tiny", "tile.tiny", "upscale.tiny"],
    "models": ["base.other", "tile.other", "upscale.other"],
}
WORKERS = {"heavy": ("shares", "3"), "light": ("shares", "1")}
WORKERS |= {"one": ("models", "1"), "two": ("models", "1")}


@pytest.fixture(scope="module")
def site(services, tmp_path_factory):
    folder = tmp_path_factory.mktemp("placing")
    placing = {"shares": "weighted", "models": "affinity"}
    site = PrivateCluster(
        services,
        folder,
        TILECHORD_POOLS=json.dumps(POOLS),
        TILECHORD_POOL_PLACING=json.dumps(placing),
        TILECHORD_STEAL_AFTER_S="5",
        TILECHORD_HEARTBEAT_S=str(HEARTBEAT_S),
    )
    build_tiny_model(folder / "models" / "other")
    with site.control(), ExitStack() as stack:
        site.processes = {
            name: stack.enter_context(paced(site, name, *facts)) for name, facts in WORKERS.items()
        }
        wait_for(lambda: {name(node) for node in nodes(site)} >= {*WORKERS}, limit_s=120)
        yield site


@contextmanager
def paced(site, name, pool, weight):
    """A worker whose tiles take the time that the request says."""
    arguments = celery_arguments(["gpu"], name)  # by the settings of this process
    arguments[arguments.index(queue_name("gpu"))] = queue_name(pool)
    arguments = arguments[arguments.index("worker") :]
    env = os.environ | site.env | {"PACE": "1", "TILECHORD_NODE_WEIGHT": weight}
    with (site.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.paced_worker", *arguments],
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def nodes(site):
    return [node for node in read_nodes(site.runtime.board, HEARTBEAT_S) if not node.is_lost]


def name(node):
    return node.node.partition("@")[0]


def rendered(site, tiles, model, seed):
    """How many tiles each worker renders of a job."""
    job_id = site.submit(order(tiles, 0.1, 0.0, model=model, seed=seed))
    assert site.wait_for_end(job_id).state is JobState.SUCCEEDED
    return tiles_by_worker(site, job_id)


def tiles_by_worker(site, job_id):
    runs = read_runs(site.runtime.store, site.runtime.ledger.plan(job_id))
    return Counter(run.worker.partition("-")[0] for run in runs if run.stage is Stage.TILE)


def test_affinity_keeps_a_job_where_its_model_is_until_that_takes_too_long(site):
    rendered(site, 4, "other", seed=1)  # somebody loads it, and its times become known

    short, long = rendered(site, 9, "other", seed=2), rendered(site, 100, "other", seed=3)

    assert max(short.values()) >= 8  # nothing, or a single tile that hung, elsewhere
    assert min(long["one"], long["two"]) >= 20


def test_weights_decide_who_renders_how_much_though_all_are_as_fast(site):
    rendered(site, 4, "tiny", seed=1)

    shares = rendered(site, 36, "tiny", seed=2)

    assert shares["heavy"] > 2 * shares["light"] > 0


def test_units_that_wait_for_a_lost_node_are_rendered_by_another(site):
    job_id = site.submit(order(36, 0.3, 0.0, model="tiny", seed=3))
    wait_for(lambda: site.runtime.ledger.has_plan(job_id))
    wait_for(lambda: tiles_by_worker(site, job_id)["light"], limit_s=60)

    site.processes["light"].send_signal(signal.SIGKILL)

    # Its queue expires after a minute, which would help as well, but late.
    wait_for(lambda: site.runtime.ledger.has_result(job_id), limit_s=50)
    assert tiles_by_worker(site, job_id)["light"] < 36 / 4
