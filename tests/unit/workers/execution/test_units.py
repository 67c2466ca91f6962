import threading
import time

import pytest

from app.domain.errors import (
    CorruptBlobError,
    ModelError,
)
from app.manifests import read_runs
from tests.unit.workers.execution.scene import AGAIN, BATCH, FIRST, IN_TURN, MESSAGE, RENDER, WORK


def test_a_unit_is_rendered_stored_and_recorded(executor, store):
    outcome = executor.execute(MESSAGE, FIRST)

    assert outcome == {"key": WORK.key(RENDER), "status": "rendered"}
    assert store.get(WORK.key(RENDER)) == b"pixels 3"
    assert [(run.unit, run.worker) for run in read_runs(store, RENDER)] == [
        ("image-0000/phase-0/tile-00003", "gpu1-host")
    ]


def test_the_loading_of_a_model_is_recorded_and_not_told_as_a_tiles_time(
    executor, renderer, store, monkeypatch
):
    told = []
    monkeypatch.setattr(executor._node, "tell_unit", lambda *_, seconds, **__: told.append(seconds))
    renderer.loading = lambda: time.sleep(0.5)

    executor.execute(MESSAGE, FIRST)

    (run,) = read_runs(store, RENDER)
    assert run.seconds >= 0.5
    assert told == [pytest.approx(run.seconds - 0.5, abs=0.1)]


def test_a_unit_whose_blob_exists_is_not_rendered_again(executor, renderer, store):
    executor.execute(MESSAGE, FIRST)

    again = executor.execute(MESSAGE, AGAIN)

    assert again["status"] == "present"
    assert renderer.rendered == [WORK]
    assert len(read_runs(store, RENDER)) == 1


def test_of_a_batch_only_what_is_missing_is_rendered_and_each_has_its_run(
    executor, renderer, store
):
    executor.execute(MESSAGE, FIRST)

    executor.execute(BATCH, FIRST)

    assert renderer.asked == [[3], [4, 5, 6]]
    assert sorted(run.unit[-1] for run in read_runs(store, RENDER)) == ["3", "4", "5", "6"]


def test_tiles_that_another_job_stored_are_not_rendered_though_those_before_them_are(
    executor, renderer
):
    others = MESSAGE.model_copy(update={"index": 5, "more": [6]})
    executor.execute(others, FIRST)

    executor.execute(IN_TURN, FIRST)

    assert renderer.asked == [[5, 6], [3], [4]]


def test_a_message_tells_how_many_of_its_tiles_are_denoised_together(executor, renderer, store):
    pairs = BATCH.model_copy(update={"together": 2})

    assert executor.execute(pairs, FIRST)["status"] == "rendered"
    assert renderer.asked == [[3, 4], [5, 6]]
    assert [run.unit[-1] for run in read_runs(store, RENDER)] == ["3", "4", "5", "6"]


def test_a_tile_is_stored_while_the_next_is_rendered(executor, renderer, store):
    is_next_begun = threading.Event()
    renderer.during = lambda: is_next_begun.set() if renderer.asked == [[3], [4]] else None
    store.before = lambda key: "tile-00003" not in key or is_next_begun.wait(10)

    executor.execute(IN_TURN.model_copy(update={"more": [4]}), FIRST)

    assert is_next_begun.is_set()
    assert len(read_runs(store, RENDER)) == 2


def test_no_more_than_one_tile_waits_to_be_stored(executor, renderer, store):
    kept = []
    store.before = lambda key: kept.append(key) if "tile" in key and "runs" not in key else True
    renderer.during = lambda: seen.append((len(renderer.asked), len(kept)))
    seen = []

    executor.execute(IN_TURN, FIRST)

    assert all(stored >= asked - 2 for asked, stored in seen)


def test_a_tile_that_cannot_be_stored_ends_the_job_with_its_name(executor, renderer, ledger, store):
    def refuse(key):
        if "tile-00004" in key:
            raise CorruptBlobError("no")
        return True

    store.before = refuse

    assert executor.execute(IN_TURN, FIRST)["status"] == "failed"
    assert ledger.failure("job") == "tile 4 of image 0: no"
    assert [6] not in renderer.asked


def test_what_is_being_stored_is_stored_although_the_next_tile_fails(
    executor, renderer, ledger, store
):
    def fail_second():
        if renderer.asked[-1] == [4]:
            raise ModelError("model x has no weights")

    renderer.during = fail_second

    assert executor.execute(IN_TURN, FIRST)["status"] == "failed"
    assert ledger.failure("job") == "tile 4 of image 0: model x has no weights"
    assert [run.unit[-1] for run in read_runs(store, RENDER)] == ["3"]
