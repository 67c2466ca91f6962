import pytest

from app.domain.errors import (
    CorruptBlobError,
    ModelError,
    NotFoundError,
)
from app.domain.work import Stage, Work, plan_key
from app.jobs import MOST_MENDED
from app.parts import parts_of
from tests.unit.workers.execution.scene import FIRST, MERGED, MESSAGE, RENDER, WORK


def test_a_failure_for_good_is_recorded_and_not_raised(executor, renderer, ledger):
    renderer.errors = [ModelError("model m: unet is missing")]

    outcome = executor.execute(MESSAGE, FIRST)

    assert outcome["status"] == "failed"
    assert ledger.failure("job") == "tile 3 of image 0: model m: unet is missing"


def test_all_workers_are_told_of_a_failure_once_it_is_recorded(executor, renderer, ledger, told):
    renderer.errors = [ModelError("model m: unet is missing")]
    executor._tell_all = lambda job_id: told.append((job_id, ledger.failure(job_id) is not None))

    executor.execute(MESSAGE, FIRST)

    assert told == [("job", True)]


def test_nobody_is_told_of_a_job_that_is_still_wanted(executor, told):
    executor.execute(MESSAGE, FIRST)

    assert told == []


def test_a_unit_whose_predecessors_are_gone_fails_no_job(executor, renderer, ledger):
    renderer.errors = [NotFoundError("blob x does not exist in memory")]

    outcome = executor.execute(MESSAGE, FIRST)

    assert outcome == {"key": WORK.key(RENDER), "status": "gone"}
    assert ledger.failure("job") is None


@pytest.mark.parametrize("error", [NotFoundError, CorruptBlobError])
def test_a_unit_that_can_never_read_what_it_is_made_of_ends_its_job(
    executor, renderer, ledger, error
):
    renderer.errors = [error("blob x is not as it was")] * 9

    ends = [executor.execute(MESSAGE, FIRST)["status"] for _ in range(MOST_MENDED + 1)]

    assert ends == ["gone"] * MOST_MENDED + ["failed"]
    assert ledger.failure("job") == "tile 3 of image 0: blob x is not as it was"


@pytest.mark.parametrize("error", [NotFoundError, CorruptBlobError])
def test_a_stage_that_has_lost_a_part_is_undone_and_the_others_are_not(
    executor, renderer, store, error
):
    units = [Work(Stage.BASE, 0), Work(Stage.PREPARE, 0), Work(Stage.TILE, 0), MERGED]
    for key in [unit.key(RENDER) for unit in units] + list(parts_of(RENDER, MERGED)):
        store.put(key, b"{}")
    renderer.errors = [error("blob x is not as it was")]

    assert executor.execute(MESSAGE, FIRST)["status"] == "gone"
    assert [store.exists(unit.key(RENDER)) for unit in units] == [True, False, True, True]


def test_what_cannot_be_counted_is_not_tried_again(executor, renderer, store, ledger, monkeypatch):
    put = store.put
    monkeypatch.setattr(store, "put", lambda key, data: "mended" in key or put(key, data))
    renderer.errors = [NotFoundError("blob x does not exist in memory")]

    assert executor.execute(MESSAGE, FIRST)["status"] == "failed"


def test_a_unit_of_a_plan_that_was_removed_fails_no_job(executor, ledger, store):
    store.delete(plan_key(RENDER.hash))

    assert executor.execute(MESSAGE, FIRST) == {"key": "", "status": "gone"}
    assert ledger.failure("job") is None
