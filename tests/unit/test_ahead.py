"""When the next message is asked for; that the broker brings it, tests/integration shows."""

import os
import select
from concurrent.futures import Future
from contextlib import suppress
from types import SimpleNamespace

import pytest
from celery.worker import state

from app.ahead import LEAD_S, THREADS, Ahead, Following
from tests.support.clock import HandClock


class Asked:
    """Requests for a next message, answered when told to."""

    def __init__(self):
        self.futures = []

    def __call__(self):
        self.futures.append(Future())
        return self.futures[-1]

    def answer(self, is_taken):
        self.futures[-1].set_running_or_notify_cancel()
        self.futures[-1].set_result(is_taken)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def following(asked, clock):
    return Following(asked, clock)


def test_nothing_is_asked_for_while_no_end_is_in_sight(following, asked, clock):
    clock.now_s += 1000
    following.look()

    assert asked.futures == []


def test_it_is_asked_for_once_and_shortly_before_the_end(following, asked, clock):
    following.expect(2.0)
    clock.now_s += 1.99 - LEAD_S
    following.look()
    assert asked.futures == []

    clock.now_s += 0.02
    following.look()
    following.look()
    asked.answer(True)
    following.look()

    assert len(asked.futures) == 1


def test_what_was_refused_is_asked_for_again_a_little_later(following, asked, clock):
    following.expect(0.0)
    following.look()
    asked.answer(False)
    following.look()
    assert len(asked.futures) == 1

    clock.now_s += 0.02
    following.look()

    assert len(asked.futures) == 2


def test_once_rendered_it_is_asked_for_at_once(following, asked):
    following.ask()
    asked.answer(False)
    following.ask()
    following.ask()

    assert len(asked.futures) == 2


def test_a_request_that_nobody_took_up_is_withdrawn_at_the_end(following, asked):
    with following:
        following.expect(0.0)
        following.look()

    assert asked.futures[0].cancelled()


def test_a_request_that_is_being_carried_out_is_waited_for(following, asked, monkeypatch):
    with following:
        following.expect(0.0)
        following.look()
        (future,) = asked.futures
        future.set_running_or_notify_cancel()
        result, waited = future.result, []
        monkeypatch.setattr(future, "result", lambda: waited.append(future.set_result(True)))

    assert waited == [None]
    assert result() is True


class FakeTasks:
    """What Celery takes tasks with: queues, subscriptions, a channel that notes what it is told."""

    def __init__(self, *names):
        self.queues = [SimpleNamespace(name=name) for name in names]
        self.told = []
        self.channel = self
        self.callbacks = {"tag-1": print}
        self._active_tags = {names[0]: "tag-1"}

    def basic_qos(self, *arguments):
        self.told.append(("qos", *arguments))

    def basic_cancel(self, tag, *, nowait):
        assert nowait
        self.told.append(("cancel", tag))

    def _basic_consume(self, queue, *, nowait):
        assert nowait
        self.told.append(("consume", queue.name))


class Hub:
    def __init__(self):
        self.readers = {}

    def add_reader(self, end, callback):
        self.readers[end] = callback

    def turn(self):
        """Call who has something to read, as a loop does."""
        for end in select.select([*self.readers], [], [], 0)[0]:
            self.readers[end]()


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def at_hand(monkeypatch):
    """Messages that the worker has."""
    requests = {1}
    monkeypatch.setattr(state, "reserved_requests", requests)
    return requests


def serving(hub, tasks, threads=THREADS):
    ahead = Ahead()
    pool = SimpleNamespace(num_processes=threads)
    ahead.serve(SimpleNamespace(task_consumer=tasks, pool=pool), hub)
    return ahead


def test_the_loop_subscribes_anew_once_it_is_asked_to(hub, at_hand):
    tasks = FakeTasks("gpu")
    ahead = serving(hub, tasks)
    hub.turn()
    assert tasks.told == [("qos", 0, 1, False)]

    asked = ahead.ask()
    assert not asked.done()
    hub.turn()

    assert asked.result(0)
    assert tasks.told[1:] == [("cancel", "tag-1"), ("consume", "gpu")]
    assert tasks.callbacks == {}


def test_a_withdrawn_request_is_not_carried_out(hub, at_hand):
    tasks = FakeTasks("gpu")
    ahead = serving(hub, tasks)

    assert ahead.ask().cancel()
    hub.turn()

    assert tasks.told == [("qos", 0, 1, False)]


@pytest.mark.parametrize("count", [0, 2])
def test_a_worker_that_has_another_message_or_none_gets_no_more(hub, at_hand, count):
    at_hand.clear()
    at_hand.update(range(count))
    tasks = FakeTasks("gpu")
    ahead = serving(hub, tasks)

    asked = ahead.ask()
    hub.turn()

    assert not asked.result(0)
    assert tasks.told == [("qos", 0, 1, False)]


def test_a_parked_worker_takes_nothing_ahead(hub, at_hand):
    tasks = FakeTasks("gpu")
    ahead = serving(hub, tasks)
    tasks._active_tags.clear()

    asked = ahead.ask()
    hub.turn()

    assert not asked.result(0)
    assert tasks.told == [("qos", 0, 1, False)]


@pytest.mark.parametrize(("queues", "threads"), [(["gpu"], 1), (["control", "gpu"], 2)])
def test_a_worker_with_several_queues_or_one_thread_takes_one_after_the_other(
    hub, at_hand, queues, threads
):
    tasks = FakeTasks(*queues)

    assert serving(hub, tasks, threads).ask() is None
    assert tasks.told == []


def test_a_worker_that_serves_nobody_yet_is_asked_in_vain():
    assert Ahead().ask() is None


def test_many_requests_wake_the_loop_once_and_a_full_pipe_stops_nobody(hub, at_hand):
    ahead = serving(hub, FakeTasks("gpu"))
    with suppress(BlockingIOError):
        while os.write(ahead._waker, bytes(65536)):
            pass

    asked = [ahead.ask(), ahead.ask()]
    hub.turn()

    assert asked[0].done()
    assert asked[1].done()
