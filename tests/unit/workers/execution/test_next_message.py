import time
from dataclasses import replace

from app.domain.errors import (
    ModelError,
)
from tests.unit.workers.execution.scene import BATCH, FIRST, IN_TURN, MESSAGE, asking


def test_the_next_message_is_asked_for_while_the_last_units_are_stored(executor, store):
    asked = []

    executor.execute(MESSAGE, asking(store, asked))

    assert asked == [False]


def test_the_next_message_is_asked_for_when_a_units_end_is_near(executor, renderer, store):
    executor.execute(MESSAGE.model_copy(update={"index": 2}), FIRST)  # its time is known now
    asked, before = [], []
    renderer.during = lambda: before.append(len(asked))
    render = renderer.render_tiles

    def render_and_look(plan, works, check):
        blobs = render(plan, works, check)
        before.append(len(asked))
        return blobs

    renderer.render_tiles = render_and_look
    executor.execute(MESSAGE, asking(store, asked))

    assert before == [0, 1]  # at its first check, and not a second time
    assert asked == [False]


def test_the_next_message_is_not_asked_for_while_units_of_one_wait(executor, renderer, store):
    asked, seen = [], []
    renderer.during = lambda: seen.append(len(asked))

    executor.execute(IN_TURN, asking(store, asked))

    assert seen == [0, 0, 0, 0]
    assert len(asked) == 1


def test_what_was_expected_of_an_attempt_says_nothing_of_the_next(executor, renderer, store):
    renderer.during = lambda: time.sleep(0.4)
    executor.execute(BATCH.model_copy(update={"index": 10, "more": [11, 12, 13]}), FIRST)
    asked, seen, pauses = [], [], [0.0, 0.4, 0.0]  # in the second, four would be done
    renderer.fits = 3

    def check_after_a_while(plan, works, check):
        time.sleep(pauses.pop(0))
        check()
        seen.append(len(asked))
        return render(plan, works, check)

    renderer.during = lambda: None
    render, renderer.render_tiles = renderer.render_tiles, check_after_a_while
    executor.execute(BATCH, asking(store, asked))

    assert renderer.asked[-3:] == [[3, 4, 5, 6], [3, 4], [5, 6]]
    assert seen == [0, 0, 0]
    assert len(asked) == 1


def test_who_renders_nothing_asks_for_nothing(executor, renderer, store):
    asked = []
    renderer.errors = [ModelError("model m: unet is missing")]
    executor.execute(MESSAGE.model_copy(update={"index": 5}), asking(store, asked))
    executor.execute(MESSAGE, FIRST)
    executor.execute(MESSAGE, asking(store, asked))

    assert asked == []


def test_a_message_that_somebody_had_is_alone_with_its_worker(executor, store):
    asked = []

    executor.execute(MESSAGE, replace(asking(store, asked), is_again=True))

    assert asked == []
