import json
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import REGISTRY

from app import workflow
from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import (
    CorruptBlobError,
    InvalidRequestError,
    NotFoundError,
    RenderCancelledError,
    RenderFailedError,
)
from app.domain.spec import Priority
from app.domain.work import (
    Run,
    Stage,
    Work,
    next_of_image,
    next_work,
    picture_key,
    plan_key,
    unit_name,
    work_of,
)
from app.jobs import JobLedger, present_keys
from app.live.memory import MemoryBoard
from app.pictures.codecs import encode_array, encode_pixels
from app.pictures.embedding import read_recipe
from app.planning import plan_request
from app.schemas import MOST_TOGETHER, Manifest, WorkMessage, read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.damage import damage
from tests.support.tiny_model import build_tiny_model

REQUEST = read_request({"prompt": "a map", "height": 128, "width": 160, "priority": "high"})
SEVERAL_CORES = read_request({"prompt": "a map", "height": 128, "width": 320})


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    build_tiny_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def runtime(catalogue):
    store = MemoryStore()
    chosen = Settings(model="tiny", broker_url="amqp://localhost//")
    return Runtime(chosen, store, JobLedger(store), catalogue, MemoryBoard())


def finish_units(runtime, plan, units) -> None:
    """What workers would leave behind for *units*."""
    for work in units:
        blob = b"{}"
        if work.stage is Stage.TILE:
            phase = plan.phases[work.phase]
            box, parts = phase.tiles[work.index], 2 if phase.splits_noise else 1
            blob = encode_array(np.ones((4 * parts, box.height, box.width), np.float32))
        if work.stage is Stage.CORE:
            box = plan.core_pixels(work.index)
            blob = encode_pixels(np.full((box.height, box.width, 3), 7, np.uint8))
        runtime.store.put(work.key(plan), blob)


def walk(runtime, job_id) -> Iterator[tuple[Work, ...]]:
    """The units of each stage that workers are asked for, done when the next are asked for."""
    plan = runtime.ledger.plan(job_id)
    while runtime.ledger.has_result(job_id) is False:
        units = next_work(plan, present_keys(runtime.store, plan))
        yield units
        finish_units(runtime, plan, units)
        workflow.advance(runtime, job_id)


def finished_jobs() -> float:
    found = REGISTRY.get_sample_value("tilechord_jobs_finished_total", {"source": "rendered"})
    return found or 0.0


def finish(runtime, job_id, request) -> Manifest:
    workflow.start(runtime, job_id, request)
    for _ in walk(runtime, job_id):
        pass
    return runtime.ledger.result(job_id)


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


def test_a_damaged_tile_is_removed_and_asked_for_again(runtime):
    workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    tiles = next(units for units in walk(runtime, "job") if units[0].stage is Stage.TILE)
    finish_units(runtime, plan, tiles)
    damage(runtime.store, tiles[0].key(plan))

    outcome = workflow.advance(runtime, "job")

    assert outcome is None
    assert next_work(plan, present_keys(runtime.store, plan)) == tiles[:1]


def test_a_job_whose_plan_was_removed_does_not_fail_of_it(runtime):
    workflow.start(runtime, "job", REQUEST)
    runtime.store.delete(plan_key(runtime.ledger.plan("job").hash))

    assert workflow.advance(runtime, "job") is None

    workflow.start(runtime, "job", REQUEST)
    assert len(list(walk(runtime, "job"))) == 5


def test_a_damaged_plan_fails_its_job_and_no_later_one(runtime):
    workflow.start(runtime, "job-1", REQUEST)
    damage(runtime.store, plan_key(runtime.ledger.plan("job-1").hash))
    with pytest.raises(CorruptBlobError):
        workflow.advance(runtime, "job-1")

    finish(runtime, "job-2", REQUEST)

    assert workflow.advance(runtime, "job-1").images == runtime.ledger.result("job-2").images


@pytest.mark.parametrize("name", ["picture.png.json", "quality.json"])
@pytest.mark.parametrize("spoil", [damage, MemoryStore.delete], ids=["damaged", "lost"])
def test_what_is_told_of_a_picture_may_be_damaged_before_the_last_one_is_done(runtime, name, spoil):
    workflow.start(runtime, "job-1", REQUEST.model_copy(update={"count": 2}))
    plan = runtime.ledger.plan("job-1")
    while (first := next_of_image(plan, 0, present_keys(runtime.store, plan))) != ():
        finish_units(runtime, plan, first)
        workflow.advance(runtime, "job-1", [0])
    spoil(runtime.store, picture_key(plan, 0, name))

    for _ in walk(runtime, "job-1"):
        pass

    assert len(runtime.ledger.result("job-1").images) == 2


def test_a_record_that_is_lost_again_and_again_ends_the_job(runtime, monkeypatch):
    workflow.start(runtime, "job-1", REQUEST)
    record = picture_key(runtime.ledger.plan("job-1"), 0, "picture.png.json")
    put = runtime.store.put
    monkeypatch.setattr(runtime.store, "put", lambda key, data: key == record or put(key, data))

    with pytest.raises(NotFoundError, match=r"picture\.png\.json"):
        for _ in walk(runtime, "job-1"):
            pass


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


@pytest.fixture
def tile_chord(runtime):
    """The chord of a slice of tiles of a long prompt's picture."""
    large = read_request(
        {"prompt": "a map " * 500, "height": 1792, "width": 1792, "priority": "high"}
    )
    workflow.start(runtime, "job", large)
    plan = runtime.ledger.plan("job")
    units = [Work(Stage.TILE, 0, 0, index) for index in range(1000)]
    return workflow.slice_tasks(runtime, "job", plan, units, Priority.HIGH)


def test_a_member_is_names_and_numbers_and_stays_small(tile_chord):
    assert len(tile_chord.tasks) == 1000
    assert len(json.dumps(tile_chord.tasks[0])) + len(json.dumps(tile_chord.body)) < 2000


@pytest.fixture
def batched(runtime):
    """Sends units of the job in batches of four; how often they were sent before."""
    workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")

    def messages(units, attempt=0):
        sent = workflow.slice_tasks(
            runtime, "job", plan, units, Priority.HIGH, attempt=attempt, batch=4
        )
        return [WorkMessage.model_validate(task.kwargs["message"]) for task in sent.tasks]

    return messages


def test_a_message_of_several_tiles_tells_how_many_are_denoised_together(batched, runtime):
    together = runtime.settings.tile_batch
    units = [Work(Stage.TILE, 0, 0, index) for index in range(5)]

    assert [message.together for message in batched(units)] == [together, MOST_TOGETHER]


def test_units_that_another_pool_takes_over_are_sent_to_it(runtime):
    workflow.start(runtime, "job", REQUEST)
    units = [Work(Stage.TILE, 0, 0, 0)]

    sent = workflow.slice_tasks(
        runtime, "job", runtime.ledger.plan("job"), units, Priority.HIGH, pool="large"
    )

    [options] = [task.options for task in sent.tasks]
    assert options["queue"] == "render.large.v1"
    assert options["routing_key"].startswith("large.tile.")


def test_tiles_are_sent_in_batches_of_the_size_that_is_set(batched):
    units = [Work(Stage.TILE, 0, 0, index) for index in range(6)]

    messages = batched(units)

    assert [len(message.works) for message in messages] == [4, 2]
    assert [work for message in messages for work in message.works] == units


def test_tiles_that_are_sent_again_and_other_units_go_alone(batched):
    tiles = [Work(Stage.TILE, 0, 0, index) for index in range(3)]
    cores = [Work(Stage.CORE, 0, 0, index) for index in range(2)]

    assert [message.works for message in batched(tiles, attempt=1)] == [(tile,) for tile in tiles]
    assert [message.works for message in batched(cores)] == [(core,) for core in cores]


def test_a_message_of_one_unit_is_read_as_ever():
    old = {"job_id": "job", "plan_hash": "0", "stage": "tile", "image": 0, "index": 3}

    assert WorkMessage.model_validate(old).works == (Work(Stage.TILE, 0, index=3),)


def test_a_tile_named_twice_in_a_message_is_one_unit():
    message = {"job_id": "job", "plan_hash": "0", "stage": "tile", "image": 0, "index": 3}

    works = WorkMessage.model_validate(message | {"more": [4, 3, 4]}).works

    assert [work.index for work in works] == [3, 4]


def test_the_callback_carries_the_job_and_its_images_alone(tile_chord):
    body = tile_chord.body

    assert body.task == workflow.MERGE
    assert body.immutable
    assert body.kwargs == {"job_id": "job", "images": [0]}


@pytest.mark.parametrize(
    ("stage", "callback"),
    [
        (Stage.BASE, None),
        (Stage.PREPARE, None),
        (Stage.TILE, workflow.MERGE),
        (Stage.HEAD, None),
        (Stage.CORE, workflow.FINISH),
    ],
)
def test_units_have_a_callback_where_the_control_worker_is_next(runtime, stage, callback):
    workflow.start(runtime, "job", SEVERAL_CORES)
    plan = runtime.ledger.plan("job")

    sent = workflow.slice_tasks(runtime, "job", plan, [Work(stage, 0)], Priority.NORMAL)

    assert len(sent.tasks) == 1
    assert (sent.body.task if "body" in sent.kwargs else None) == callback


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


def test_members_and_callbacks_carry_the_jobs_priority_and_route(tile_chord):
    assert tile_chord.tasks[0].options["priority"] == 9
    assert tile_chord.tasks[0].options["routing_key"] == "gpu.tile.tiny"
    assert tile_chord.body.options["priority"] == 9
    assert tile_chord.body.options["queue"] == "render.control.v1"


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


@pytest.fixture
def listed(runtime, monkeypatch):
    """Prefixes that are listed."""
    found, keys = [], runtime.store.keys
    monkeypatch.setattr(runtime.store, "keys", lambda prefix: found.append(prefix) or keys(prefix))
    return found


LARGE = read_request({"prompt": "a map", "height": 640, "width": 640, "mode": "refine"})
MANY_PHASES = read_request(
    {"prompt": "a map", "height": 128, "width": 160, "mode": "multidiffusion", "steps": 20}
)


def test_the_end_of_a_slice_that_was_not_the_last_lists_no_blobs(runtime, listed):
    workflow.start(runtime, "job", LARGE)
    plan = runtime.ledger.plan("job")
    base, prepare, tiles, *_ = work_of(plan)
    finish_units(runtime, plan, [*base, *prepare, *tiles[:-1]])
    listed.clear()

    assert workflow.advance(runtime, "job", [0]) is None
    assert listed == []

    done = []
    finish_units(runtime, plan, tiles[-1:])
    workflow.advance(runtime, "job", [0], note=done.append)
    assert [work.stage for work in done] == [Stage.MERGE]


@pytest.mark.parametrize(
    "order",
    [REQUEST, MANY_PHASES],
    ids=["few tiles", "many phases"],
)
def test_where_a_listing_is_short_nothing_is_asked_for_before_it(
    runtime, listed, monkeypatch, order
):
    workflow.start(runtime, "job", order)
    asked, exists = [], runtime.store.exists
    monkeypatch.setattr(runtime.store, "exists", lambda key: asked.append(key) or exists(key))
    listed.clear()

    assert workflow.advance(runtime, "job", [0]) is None
    assert listed
    assert not [key for key in asked if "image-" in key]
