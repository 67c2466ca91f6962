from app.attempts import Quarantine
from tests.unit.workers.execution.scene import AGAIN, BATCH, FIRST, MESSAGE, RENDER, WORK


def died_of(store, *names, unit="image-0000/phase-0/tile-00003"):
    for name in names:
        store.put(f"attempts/{RENDER.hash}/{unit}/{name}", b"")


def test_a_message_that_comes_again_renders_none_of_its_tiles_twice(executor, renderer):
    executor.execute(MESSAGE.model_copy(update={"index": 5}), FIRST)

    executor.execute(BATCH, AGAIN)

    assert renderer.asked == [[5], [3], [4], [6]]


def test_nothing_is_written_about_a_first_delivery(executor, renderer, store):
    seen = []
    renderer.during = lambda: seen.extend(store.keys("attempts/"))

    executor.execute(MESSAGE, FIRST)

    assert seen == []


def test_who_takes_up_a_unit_again_leaves_its_record_while_it_renders(executor, renderer, store):
    seen = []
    renderer.during = lambda: seen.extend(store.keys("attempts/"))

    executor.execute(MESSAGE, AGAIN)

    assert seen == [f"attempts/{RENDER.hash}/image-0000/phase-0/tile-00003/me"]
    assert list(store.keys("attempts/")) == []


def test_a_batch_that_comes_again_is_rendered_unit_by_unit(executor, renderer):
    executor.execute(BATCH, AGAIN)

    assert renderer.asked == [[3], [4], [5], [6]]


def test_a_unit_that_killed_too_many_workers_is_quarantined(
    executor, renderer, store, ledger, board
):
    died_of(store, "a", "b", "c")
    renderer_saw_me(executor, board)

    outcome = executor.execute(MESSAGE, AGAIN)

    assert outcome["status"] == "quarantined"
    assert renderer.asked == []
    assert ledger.failure("job") == "tile 3 of image 0: quarantined, 3 workers died of it"
    assert [unit.label for unit in Quarantine(store).all()] == ["tile 3 of image 0"]


def test_the_other_units_of_a_deadly_batch_are_not_taken_for_it(executor, store, ledger, board):
    died_of(store, "a", "b", "c", unit="image-0000/phase-0/tile-00005")
    renderer_saw_me(executor, board)

    assert executor.execute(BATCH, AGAIN)["status"] == "quarantined"
    assert ledger.failure("job") == "tile 5 of image 0: quarantined, 3 workers died of it"
    assert store.exists(WORK.key(RENDER))


def test_a_unit_whose_workers_cannot_be_called_dead_is_rendered(executor, store):
    died_of(store, "a", "b", "c")  # and the board shows nobody

    assert executor.execute(MESSAGE, AGAIN)["status"] == "rendered"


def renderer_saw_me(executor, board):
    """Whenever the executor waits, this worker shows itself."""

    def sleep(seconds):
        board.show("nodes", "me@host", {"incarnation": "me"}, ttl_s=600)

    object.__setattr__(executor._patience, "sleep", sleep)
