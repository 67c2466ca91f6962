import pytest

from app.domain.errors import (
    StorageUnavailableError,
)
from app.patience import WorkerStoppingError
from tests.unit.workers.execution.scene import FIRST, MESSAGE, RENDER, WORK


def test_a_model_is_not_loaded_for_a_job_that_has_ended_meanwhile(executor, renderer, ledger):
    loaded = []
    renderer.loading = lambda: loaded.append(1)

    def run(step, look):
        ledger.cancel("job")
        executor._watch._next_s.clear()
        return step()

    executor._turns.run = run

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert loaded == []


def test_a_stopping_worker_gives_up_waiting_and_fails_nothing(executor, renderer, ledger):
    renderer.errors = [StorageUnavailableError("the store is full")]
    object.__setattr__(executor._patience, "is_stopping", lambda: True)

    with pytest.raises(WorkerStoppingError):
        executor.execute(MESSAGE, FIRST)

    assert ledger.failure("job") is None


def test_a_unit_is_given_up_between_two_steps_when_its_machine_leaves(
    executor, renderer, ledger, store
):
    renderer.during = lambda: executor._node.leave("spot notice")

    with pytest.raises(WorkerStoppingError, match=r"^this machine is leaving$"):
        executor.execute(MESSAGE, FIRST)

    assert ledger.failure("job") is None
    assert not store.exists(WORK.key(RENDER))


def test_other_tiles_of_a_failed_job_are_not_rendered(executor, renderer, ledger):
    ledger.fail("job", "tile 1 of image 0: broken")

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert renderer.rendered == []


def test_a_job_cancelled_in_the_middle_of_a_tile_stores_nothing(executor, renderer, ledger, store):
    def cancel():
        ledger.cancel("job")
        executor._watch._next_s.clear()

    renderer.during = cancel

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert not store.exists(WORK.key(RENDER))


def test_a_job_cancelled_between_two_attempts_is_not_tried_again(executor, renderer, ledger):
    def cancel():
        ledger.cancel("job")
        executor._watch._next_s.clear()
        raise StorageUnavailableError("the store is full")

    renderer.during = cancel

    assert executor.execute(MESSAGE, FIRST)["status"] == "abandoned"
    assert len(renderer.asked) == 1
