import pytest
from prometheus_client import REGISTRY

from app import workflow
from app.domain.errors import (
    InvalidRequestError,
    RenderCancelledError,
    RenderFailedError,
)
from app.domain.work import (
    Run,
    Stage,
    Work,
    next_work,
    unit_name,
    work_of,
)
from app.jobs import present_keys
from app.pictures.embedding import read_recipe
from app.planning import plan_request
from app.schemas import Manifest, read_request
from tests.unit.workflow.scene import REQUEST, SEVERAL_CORES, finish, finish_units, walk


def finished_jobs() -> float:
    found = REGISTRY.get_sample_value("tilechord_jobs_finished_total", {"source": "rendered"})
    return found or 0.0


def test_a_job_walks_through_its_stages_and_ends_in_a_manifest(runtime):
    assert workflow.start(runtime, "job", REQUEST) is None

    stages = [units[0].stage for units in walk(runtime, "job")]

    manifest = runtime.ledger.result("job")
    assert stages == [Stage.BASE, Stage.PREPARE, Stage.TILE, Stage.TILE, Stage.CORE]
    assert manifest.plan_hash == runtime.ledger.plan("job").hash
    assert (manifest.images[0].height, manifest.images[0].width) == (128, 160)
    assert manifest.quality["overlap_disagreement"] == 0
    assert not manifest.cached


def test_a_picture_of_several_cores_has_a_head_before_them(runtime):
    workflow.start(runtime, "job", SEVERAL_CORES)

    stages = [(units[0].stage, len(units)) for units in walk(runtime, "job")]

    assert stages[-2:] == [(Stage.HEAD, 1), (Stage.CORE, 2)]


def test_a_finished_job_tells_what_its_rounds_cost(runtime):
    metric = "tilechord_round_latency_seconds_count"
    workflow.start(runtime, "job", REQUEST)
    plan, before = runtime.ledger.plan("job"), REGISTRY.get_sample_value(metric)
    for number, units in enumerate(walk(runtime, "job")):
        for work in units:  # a second each, ten seconds after the stage before
            run = Run(unit_name(plan, work), "left", 10_000 * number, 1.0)
            runtime.store.put(run.key(plan), b"")

    again = workflow.start(runtime, "again", REQUEST)

    assert runtime.ledger.result("job").timings["round_latency"] == 9.0
    assert again.timings["round_latency"] == 9.0
    assert REGISTRY.get_sample_value(metric) == before + len(plan.phases)


def test_an_incomplete_stage_is_left_as_it_is(runtime):
    workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    tiles = next(units for units in walk(runtime, "job") if units[0].stage is Stage.TILE)
    finish_units(runtime, plan, tiles[:1])

    outcome = workflow.advance(runtime, "job")

    assert outcome is None
    assert next_work(plan, present_keys(runtime.store, plan)) == tiles[1:]


def test_only_the_images_named_are_advanced(runtime):
    batch = read_request({"prompt": "a map", "height": 64, "width": 64, "count": 2})
    workflow.start(runtime, "job", batch)
    plan = runtime.ledger.plan("job")
    for stage in (Stage.PREPARE, Stage.TILE):
        finish_units(runtime, plan, [Work(stage, image) for image in (0, 1)])

    workflow.advance(runtime, "job", [1])

    merged = [Work(Stage.MERGE, image).key(plan) for image in (0, 1)]
    assert [runtime.store.exists(key) for key in merged] == [False, True]


def test_a_job_whose_result_is_tried_again_is_counted_once(runtime):
    workflow.start(runtime, "job-1", REQUEST)
    plan = runtime.ledger.plan("job-1")
    before = finished_jobs()
    for units in walk(runtime, "job-1"):
        if units[0].stage is Stage.CORE:
            finish_units(runtime, plan, units)
            runtime.store.put(Work(Stage.PICTURE, 0).key(plan), b"without its record")

    assert finished_jobs() == before + 1


def test_a_second_job_with_the_same_plan_is_answered_at_once(runtime):
    first = finish(runtime, "first", REQUEST)

    second = workflow.start(runtime, "second", REQUEST)

    assert isinstance(second, Manifest)
    assert second.cached
    assert second.images == first.images


def test_each_picture_of_a_batch_says_which_it_is_and_how_to_make_it_again(runtime, tmp_path):
    batch = read_request({"prompt": "a map", "height": 64, "width": 64, "count": 2, "seed": 3})
    manifest = finish(runtime, "job", batch)

    recipes = []
    for image in manifest.images:
        path = tmp_path / "picture.png"
        path.write_bytes(runtime.store.get(image.key))
        recipes.append(read_recipe(path))

    assert [recipe.image for recipe in recipes] == [0, 1]
    again = plan_request(
        read_request(dict(recipes[1].request)), runtime.catalogue, runtime.settings
    )
    assert again.hash == manifest.plan_hash


def test_advancing_a_finished_job_again_gives_the_same_manifest(runtime):
    manifest = finish(runtime, "job", REQUEST)

    assert workflow.advance(runtime, "job") == manifest


def test_a_recorded_failure_ends_the_job_with_its_reason(runtime):
    workflow.start(runtime, "job", REQUEST)
    runtime.ledger.fail("job", "tile 3 of image 0: the GPU is on fire")

    with pytest.raises(RenderFailedError, match=r"^tile 3 of image 0: the GPU is on fire$"):
        workflow.advance(runtime, "job")


def test_a_cancelled_job_goes_no_further(runtime):
    workflow.start(runtime, "job", REQUEST)
    runtime.ledger.cancel("job")

    with pytest.raises(RenderCancelledError, match=r"^job job was cancelled$"):
        workflow.advance(runtime, "job")


def test_a_picture_to_start_from_must_have_been_uploaded(runtime):
    request = read_request({"prompt": "a map", "init_image": "inputs/nope"})

    with pytest.raises(InvalidRequestError) as caught:
        workflow.start(runtime, "job", request)

    assert (
        str(caught.value) == "init_image must be the key of an uploaded picture, got 'inputs/nope'"
    )
    assert list(runtime.store.keys("")) == []


def test_advancing_tells_what_it_did_and_lists_an_image_once(runtime, monkeypatch):
    workflow.start(runtime, "job", REQUEST)
    cores = next(units for units in walk(runtime, "job") if units[0].stage is Stage.CORE)
    finish_units(runtime, runtime.ledger.plan("job"), cores)
    listed, done = [], []
    keys = runtime.store.keys
    monkeypatch.setattr(runtime.store, "keys", lambda prefix: listed.append(prefix) or keys(prefix))

    workflow.advance(runtime, "job", [0], note=done.append)

    assert done == [Work(Stage.PICTURE, 0)]
    assert len([prefix for prefix in listed if prefix.endswith("/image-0000/")]) == 2
    assert runtime.ledger.has_result("job")


def test_every_name_in_a_workflow_is_a_registered_task():
    import app.tasks
    import workers.tasks

    names = {
        *workflow.WORKER_TASKS.values(),
        workflow.RENDER,
        workflow.ADVANCE,
        workflow.MERGE,
        workflow.FINISH,
    }

    assert names <= set(app.tasks.render.app.tasks)
    assert workers.tasks.tile.name == "workers.tasks.tile"


def test_every_group_of_a_plan_is_done_by_someone(runtime):
    workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    sent = set(workflow.WORKER_TASKS) | {Stage.MERGE, Stage.PICTURE}

    assert {group[0].stage for group in work_of(plan)} <= sent
    assert next_work(plan, present_keys(runtime.store, plan))[0].stage is Stage.BASE
