import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from app.patience import WorkerStoppingError
from tests.unit.workers.execution.scene import AGAIN, FIRST, IN_TURN, MESSAGE, PASSED_ON, WORK
from workers import errand
from workers.errand import BusyError


def at_once(executor, *messages, delivery=FIRST):
    """Outcomes of messages that this worker has at the same time."""
    with ThreadPoolExecutor(len(messages)) as threads:
        return [
            outcome["status"]
            for outcome in threads.map(lambda one: executor.execute(one, delivery), messages)
        ]


def test_two_messages_never_render_at_once_and_always_in_the_same_thread(executor, renderer):
    under_way, seen = [], []

    def during():
        under_way.append(threading.get_ident())
        seen.append([*under_way])
        time.sleep(0.05)
        under_way.pop()

    renderer.during = during

    assert at_once(executor, IN_TURN, MESSAGE.model_copy(update={"index": 9})) == ["rendered"] * 2
    assert seen == [seen[0]] * 5
    assert [work.index for work in renderer.rendered] in ([3, 4, 5, 6, 9], [9, 3, 4, 5, 6])


@pytest.mark.parametrize("delivery", [FIRST, AGAIN])
def test_a_message_that_comes_twice_at_once_is_rendered_once(executor, renderer, store, delivery):
    store.before = lambda key: time.sleep(0.05)

    statuses = at_once(executor, IN_TURN, IN_TURN, delivery=delivery)

    assert sorted(statuses) == ["present", "rendered"]
    assert len(renderer.rendered) == 4


@pytest.fixture
def stopping(executor, monkeypatch):
    """Whether the worker was told to stop."""
    told = []
    monkeypatch.setattr(
        executor, "_patience", replace(executor._patience, is_stopping=lambda: bool(told))
    )
    return told


def test_who_waits_for_the_renderer_goes_when_the_worker_stops(executor, renderer, stopping):
    others = MESSAGE.model_copy(update={"index": 9})
    began, went_on = threading.Event(), threading.Event()
    renderer.during = lambda: began.set() or went_on.wait(5)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(executor.execute, MESSAGE, FIRST)
        began.wait(5)
        second = threads.submit(executor.execute, others, FIRST)
        time.sleep(0.1)
        stopping.append("SIGTERM")
        with pytest.raises(WorkerStoppingError):
            second.result(5)
        went_on.set()

        assert first.result(5)["status"] == "rendered"
    assert renderer.rendered == [WORK]


@pytest.fixture
def impatient(monkeypatch):
    """What waits for the renderer goes to others at once."""
    monkeypatch.setattr(errand, "_LONGEST_WAIT_S", 0.0)


@contextmanager
def rendering(executor, renderer):
    """A block in which the worker renders the first message, to the end of which it waits."""
    began, went_on = threading.Event(), threading.Event()
    renderer.during = lambda: began.set() or went_on.wait(5)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(executor.execute, MESSAGE, FIRST)
        began.wait(5)
        threading.Timer(0.5, went_on.set).start()
        yield
        went_on.set()
        assert first.result(5)["status"] == "rendered"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "message",
    [
        MESSAGE.model_copy(update={"index": 9}),
        MESSAGE.model_copy(update={"attempt": 1}),
    ],
    ids=["other units", "a copy of what it has"],
)
def test_what_waits_too_long_for_a_busy_worker_goes_to_another(executor, renderer, message):
    with rendering(executor, renderer), pytest.raises(BusyError):
        executor.execute(message, PASSED_ON)

    assert renderer.rendered == [WORK]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("message", "delivery", "status"),
    [
        (MESSAGE.model_copy(update={"index": 9}), FIRST, "rendered"),
        (MESSAGE, PASSED_ON, "present"),
    ],
    ids=["one that somebody had", "the same message again"],
)
def test_what_must_not_go_to_another_waits(executor, renderer, message, delivery, status):
    with rendering(executor, renderer):
        assert executor.execute(message, delivery)["status"] == status
