import pytest

from app import workflow
from app.domain.errors import (
    CorruptBlobError,
    NotFoundError,
)
from app.domain.work import (
    Stage,
    next_of_image,
    next_work,
    picture_key,
    plan_key,
)
from app.jobs import present_keys
from app.storage.memory import MemoryStore
from tests.support.damage import damage
from tests.unit.workflow.scene import REQUEST, finish, finish_units, walk


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
