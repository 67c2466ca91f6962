import io
import time
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from app.domain.work import Stage
from app.manifests import read_runs

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("usual_workers")]

REQUEST = {"prompt": "a map of islands", "width": 1280, "height": 1024, "guidance": 1}
SMALL = {
    "prompt": "a map of islands",
    "width": 512,
    "height": 384,
    "tile": 128,
    "overlap": 32,
    "model": "tiny",
}
SLOW = SMALL | {"width": 320, "height": 256, "steps": 60, "tile": 64, "overlap": 16}


def test_two_workers_render_what_one_process_renders(cluster, reference):
    distributed = cluster.client("render", REQUEST)
    alone = reference.client("embedded", REQUEST)

    assert distributed["plan_hash"] == alone["plan_hash"]
    assert len([share for share in distributed["workers"].values() if share["tiles"]]) == 2
    assert distributed["executions"] == distributed["units"]
    difference = cluster.pixels(distributed) - reference.pixels(alone)
    assert difference.shape == (1024, 1280, 3)
    assert np.abs(difference).max() <= 1


def test_the_picture_is_an_ordinary_file_behind_its_url(cluster):
    manifest = cluster.client("render", SMALL)

    image = manifest["images"][0]
    picture = Image.open(io.BytesIO(cluster.runtime.store.get(image["key"])))

    assert picture.size == (512, 384)
    assert image["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_workers_any_order_and_double_delivery_give_one_picture(
    cluster, reference, count
):
    request = SMALL | {"seed": count}
    names = [f"w{number}" for number in range(1, count + 1)]
    cluster.become({"control": "control"} | dict.fromkeys(names, "gpu"))

    scattered = cluster.client("scatter", request)

    alone = reference.client("embedded", request)
    difference = cluster.pixels(scattered) - reference.pixels(alone)
    assert scattered["plan_hash"] == alone["plan_hash"]
    assert np.abs(cluster.latents(scattered) - reference.latents(alone)).max() <= 2e-4
    assert np.abs(difference).max() <= 1


def test_a_second_identical_request_renders_nothing(cluster):
    first = cluster.client("render", SMALL | {"seed": 99})
    again_ms = 1000 * time.time()

    second = cluster.client("render", SMALL | {"seed": 99})

    assert second["cached"]
    assert second["images"][0]["sha256"] == first["images"][0]["sha256"]
    # A copy of a unit that was late may end after its job: that was begun before.
    plan = cluster.runtime.ledger.plan(first["job_id"])
    assert all(run.started_ms < again_ms for run in read_runs(cluster.runtime.store, plan))


def test_a_killed_worker_costs_no_finished_tile(cluster):
    slow = SLOW | {"seed": 5}
    client = cluster.begin("render", slow)
    job = cluster.wait_for_job()
    cluster.wait_for_runs(job, 8)

    cluster.kill("w1")
    manifest = cluster.finish(client)

    assert manifest["job_id"] == job
    assert cluster.rendered_again(job) == set()
    assert manifest["executions"] <= manifest["units"] + 2  # slow units may be copied


def test_tiles_redelivered_through_their_chord_change_nothing(cluster, reference, services):
    request = SMALL | {"seed": 11, "steps": 60}
    client = cluster.begin("render", request)
    cluster.wait_for_runs(cluster.wait_for_job(), 3)

    # The tiles in work are finished, cannot be acknowledged, and are delivered again.
    services.rabbitmq.ctl("close_all_connections", "a test")
    manifest = cluster.finish(client)

    alone = reference.client("embedded", request)
    assert np.abs(cluster.pixels(manifest) - reference.pixels(alone)).max() <= 1


def test_a_job_survives_the_loss_of_all_workers_and_of_redis(cluster, redis_flush):
    slow = SLOW | {"seed": 6}
    job = cluster.client("submit", slow)["job_id"]
    cluster.wait_for_runs(job, 8)
    finished = {run.unit for run in cluster.runs(job)}

    for name in ("w1", "w2", "control"):
        cluster.kill(name)
    redis_flush()
    cluster.start_all({"control": "control", "w1": "gpu", "w2": "gpu"})
    manifest = cluster.client("resume", job)

    assert manifest["job_id"] == job
    assert cluster.rendered_again(job) & finished == set()


def test_a_worker_answers_control_commands_during_a_long_tile(cluster):
    long = SMALL | {"seed": 10, "width": 128, "height": 128, "mode": "direct", "steps": 500}
    process = cluster.begin("render", long)

    cluster.wait_for_active("workers.tasks.tile")
    answers = cluster.inspect("ping")

    assert len(answers) == len(cluster.workers)
    assert cluster.finish(process)["units"] == 3


def test_a_high_priority_job_overtakes_a_long_low_priority_one(cluster):
    low = SMALL | {"seed": 7, "width": 896, "height": 896, "tile": 64, "overlap": 4}
    # Tiles of about a second: what a stage's messages take must not count as waiting.
    first = cluster.client("submit", low | {"priority": "low", "steps": 400})["job_id"]
    cluster.wait_for_runs(first, 6)

    high = SMALL | {"seed": 8, "width": 256, "height": 192, "priority": "high"}
    second = cluster.client("render", high)["job_id"]
    cluster.runtime.ledger.cancel(first)

    runs = cluster.runs(second)
    waiting = [run for run in cluster.runs(first) if run.stage is Stage.TILE]
    assert len(cluster.runtime.ledger.plan(first).phases[0].tiles) >= 200
    overtaken = [
        sum(before.started_ms < run.started_ms < after.started_ms for run in waiting)
        for before, after in pairwise(runs)
    ]
    # When a stage of the high job is published, each of the two workers holds one tile and may
    # have taken one more while the stage before was being merged.
    assert max(overtaken) <= 4
    assert len(waiting) < 100
