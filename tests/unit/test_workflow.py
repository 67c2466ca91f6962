import json

import numpy as np
import pytest

from app import workflow
from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import (
    InvalidRequestError,
    RenderCancelledError,
    RenderFailedError,
)
from app.domain.work import Stage, next_work, work_of
from app.jobs import JobLedger, present_keys
from app.live.memory import MemoryBoard
from app.pictures.codecs import encode_array, encode_pixels
from app.pictures.embedding import read_recipe
from app.planning import plan_request
from app.schemas import Manifest, read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
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


def finish_units(runtime, chord, plan) -> None:
    """What workers would leave behind for every member of *chord*."""
    for task in chord.tasks:
        message = workflow.WorkMessage.model_validate(task.kwargs["message"])
        work = message.work
        blob = b"{}"
        if work.stage is Stage.TILE:
            box = plan.phases[0].tiles[work.index]
            blob = encode_array(np.ones((4, box.height, box.width), np.float32))
        if work.stage is Stage.CORE:
            box = plan.core_pixels(work.index)
            blob = encode_pixels(np.full((box.height, box.width, 3), 7, np.uint8))
        runtime.store.put(work.key(plan), blob)


def test_a_job_walks_through_its_stages_and_ends_in_a_manifest(runtime):
    outcome = workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    stages = []

    while not isinstance(outcome, Manifest):
        stages.append(outcome.tasks[0].task)
        finish_units(runtime, outcome, plan)
        outcome = workflow.advance(runtime, "job")

    assert stages == [
        "workers.tasks.base",
        "workers.tasks.prepare",
        "workers.tasks.tile",
        "workers.tasks.core",
    ]
    assert outcome.plan_hash == plan.hash
    assert (outcome.images[0].height, outcome.images[0].width) == (128, 160)
    assert outcome.quality["overlap_disagreement"] == 0
    assert not outcome.cached


def test_a_picture_of_several_cores_has_a_head_before_them(runtime):
    outcome = workflow.start(runtime, "job", SEVERAL_CORES)
    plan = runtime.ledger.plan("job")
    stages = []

    while not isinstance(outcome, Manifest):
        stages.append((outcome.tasks[0].task, len(outcome.tasks)))
        finish_units(runtime, outcome, plan)
        outcome = workflow.advance(runtime, "job")

    assert stages[-2:] == [("workers.tasks.head", 1), ("workers.tasks.core", 2)]


def test_only_what_is_missing_is_sent(runtime):
    chord = workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    while chord.tasks[0].task != "workers.tasks.tile":
        finish_units(runtime, chord, plan)
        chord = workflow.advance(runtime, "job")
    total = len(chord.tasks)
    chord.tasks = chord.tasks[: total // 2]
    finish_units(runtime, chord, plan)

    resumed = workflow.advance(runtime, "job")

    assert len(resumed.tasks) == total - total // 2


def test_a_second_job_with_the_same_plan_is_answered_at_once(runtime):
    outcome = workflow.start(runtime, "first", REQUEST)
    plan = runtime.ledger.plan("first")
    while not isinstance(outcome, Manifest):
        finish_units(runtime, outcome, plan)
        outcome = workflow.advance(runtime, "first")

    second = workflow.start(runtime, "second", REQUEST)

    assert isinstance(second, Manifest)
    assert second.cached
    assert second.images == outcome.images


def test_each_picture_of_a_batch_says_which_it_is_and_how_to_make_it_again(runtime, tmp_path):
    batch = read_request({"prompt": "a map", "height": 64, "width": 64, "count": 2, "seed": 3})
    outcome = workflow.start(runtime, "job", batch)
    plan = runtime.ledger.plan("job")
    while not isinstance(outcome, Manifest):
        finish_units(runtime, outcome, plan)
        outcome = workflow.advance(runtime, "job")

    recipes = []
    for image in outcome.images:
        path = tmp_path / "picture.png"
        path.write_bytes(runtime.store.get(image.key))
        recipes.append(read_recipe(path))

    assert [recipe.image for recipe in recipes] == [0, 1]
    again = plan_request(
        read_request(dict(recipes[1].request)), runtime.catalogue, runtime.settings
    )
    assert again.hash == plan.hash


def test_advancing_a_finished_job_again_gives_the_same_manifest(runtime):
    outcome = workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    while not isinstance(outcome, Manifest):
        finish_units(runtime, outcome, plan)
        outcome = workflow.advance(runtime, "job")

    assert workflow.advance(runtime, "job") == outcome


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


def test_a_member_is_names_and_numbers_and_stays_small(runtime):
    large = read_request({"prompt": "a map " * 500, "height": 2048, "width": 2048})
    chord = workflow.start(runtime, "job", large)
    finish_units(runtime, chord, runtime.ledger.plan("job"))
    chord = workflow.advance(runtime, "job")
    finish_units(runtime, chord, runtime.ledger.plan("job"))
    chord = workflow.advance(runtime, "job")

    assert len(chord.tasks) > 1000
    assert len(json.dumps(chord.tasks[0])) + len(json.dumps(chord.body)) < 2000


def test_the_callback_carries_the_job_alone_and_runs_once_all_members_returned(runtime):
    body = workflow.start(runtime, "job", REQUEST).body

    assert body.immutable
    assert body.kwargs == {"job_id": "job"}
    assert body.options["priority"] == 9


def test_members_and_callbacks_carry_the_jobs_priority_and_route(runtime):
    chord = workflow.start(runtime, "job", REQUEST)

    assert chord.tasks[0].options["priority"] == 9
    assert chord.tasks[0].options["routing_key"] == "gpu.base.tiny"
    assert chord.body.options["queue"] == "render.control.v1"


def test_every_name_in_a_workflow_is_a_registered_task():
    import app.tasks
    import workers.tasks

    names = {*workflow.WORKER_TASKS.values(), workflow.ADVANCE, workflow.MERGE, workflow.FINISH}

    assert names <= set(app.tasks.render.app.tasks)
    assert workers.tasks.tile.name == "workers.tasks.tile"


def test_only_transient_errors_are_retried():
    import app.tasks
    import workers.tasks
    from app.domain.errors import TransientError

    tasks = [app.tasks.render, app.tasks.merge, app.tasks.finish, workers.tasks.tile]

    assert {task.autoretry_for for task in tasks} == {(TransientError,)}


def test_every_group_of_a_plan_is_done_by_someone(runtime):
    workflow.start(runtime, "job", REQUEST)
    plan = runtime.ledger.plan("job")
    sent = set(workflow.WORKER_TASKS) | {Stage.MERGE, Stage.PICTURE}

    assert {group[0].stage for group in work_of(plan)} <= sent
    assert next_work(plan, present_keys(runtime.store, plan))[0].stage is Stage.BASE
