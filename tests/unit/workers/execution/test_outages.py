import pytest

from app.domain.errors import (
    ModelError,
    StorageFullError,
    StorageUnavailableError,
)
from app.storage.memory import MemoryStore
from tests.unit.workers.execution.scene import FIRST, IN_TURN, MESSAGE, RENDER, WORK


def test_a_transient_error_is_retried_with_growing_waits(executor, renderer, ledger, slept):
    renderer.errors = [StorageUnavailableError("the store is full")] * 3

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"
    assert len(renderer.asked) == 4
    assert 0.5 + 1 + 2 <= sum(slept) <= 1 + 2 + 4
    assert ledger.failure("job") is None


def test_a_unit_fails_for_good_when_its_retries_are_used_up(executor, renderer, ledger):
    renderer.errors = [StorageFullError("the store is full")] * 9

    assert executor.execute(MESSAGE, FIRST)["status"] == "failed"
    assert len(renderer.asked) == 4
    assert ledger.failure("job") == "tile 3 of image 0: the store is full"


@pytest.mark.parametrize(
    ("away", "rounds", "status"),
    [("plans", 2, "rendered"), ("runs", 1, "present")],
    ids=["unit", "record"],
)
def test_an_outage_fails_no_job_however_long_it_lasts(
    executor, ledger, store, away, rounds, status
):
    store.refused = {away: 4 * rounds}  # it takes a failure, which is what it must not get

    for _ in range(rounds):
        with pytest.raises(StorageUnavailableError, match=r"^store m does not answer$"):
            executor.execute(MESSAGE, FIRST)

    assert executor.execute(MESSAGE, FIRST)["status"] == status
    assert ledger.failure("job") is None
    assert store.get(WORK.key(RENDER)) == b"pixels 3"


def test_an_outage_before_the_first_look_fails_no_job(executor, ledger, store, monkeypatch):
    away = iter([True] * 5)

    def exists(key):
        if next(away, False):
            raise StorageUnavailableError("store m does not answer")
        return MemoryStore.exists(store, key)

    monkeypatch.setattr(store, "exists", exists)

    with pytest.raises(StorageUnavailableError):
        executor.execute(MESSAGE, FIRST)

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"
    assert ledger.failure("job") is None


def test_a_failure_for_good_is_recorded_as_soon_as_the_store_takes_it(executor, renderer, ledger):
    executor._ledger._store.refused = {"failure": 3}
    renderer.errors = [ModelError("model m: unet is missing")]

    assert executor.execute(MESSAGE, FIRST)["status"] == "failed"
    assert ledger.failure("job") == "tile 3 of image 0: model m: unet is missing"


def test_a_rendered_unit_that_cannot_be_stored_yet_is_not_rendered_again(executor, renderer, store):
    store.refused = {"tile-00003": 2}

    assert executor.execute(MESSAGE, FIRST)["status"] == "rendered"
    assert renderer.asked == [[3]]


def test_what_cannot_even_be_recorded_as_failed_is_raised(executor, store):
    store.refused = {"": 999}

    with pytest.raises(StorageUnavailableError):
        executor.execute(MESSAGE, FIRST)


def test_an_outage_while_storing_is_raised_when_others_were_rendered_meanwhile(
    executor, ledger, store
):
    store.refused["phase-0/tile-00003"] = 99

    with pytest.raises(StorageUnavailableError):
        executor.execute(IN_TURN, FIRST)
    assert ledger.failure("job") is None
