import json

import pytest

from app import workflow
from app.domain.spec import Priority
from app.domain.work import (
    Stage,
    Work,
)
from app.schemas import MOST_TOGETHER, WorkMessage, read_request
from tests.unit.workflow.scene import REQUEST, SEVERAL_CORES


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


def test_a_message_is_told_by_its_job_and_units_and_not_sent_twice(tile_chord, runtime):
    plan = runtime.ledger.plan("job")
    units = [Work(Stage.TILE, 0, 0, index) for index in (7, 8, 9)]
    sent = workflow.slice_tasks(runtime, "job", plan, units, Priority.HIGH, batch=3)

    assert tile_chord.tasks[7].options["kwargsrepr"] == "job: tile 7 of image 0"
    assert sent.tasks[0].options["kwargsrepr"] == "job: tile 7 of image 0 and 2 more"


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


def test_members_and_callbacks_carry_the_jobs_priority_and_route(tile_chord):
    assert tile_chord.tasks[0].options["priority"] == 9
    assert tile_chord.tasks[0].options["routing_key"] == "gpu.tile.tiny"
    assert tile_chord.body.options["priority"] == 9
    assert tile_chord.body.options["queue"] == "render.control.v1"
