"""When the next message is asked for; that a broker brings it, tests/integration shows."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from celery.worker import state

from app.ahead import LEAD_S, THREADS, Ahead, NextMessage
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
def next_message(asked, clock):
    return NextMessage(asked, clock)


def test_nothing_is_asked_for_while_no_end_is_in_sight(next_message, asked, clock):
    clock.now_s += 1000
    next_message.look()

    assert asked.futures == []


def test_it_is_asked_for_once_and_shortly_before_the_end(next_message, asked, clock):
    next_message.expect(2.0)
    clock.now_s += 1.99 - LEAD_S
    next_message.look()
    assert asked.futures == []

    clock.now_s += 0.02
    next_message.look()
    next_message.look()
    asked.answer(True)
    next_message.look()

    assert len(asked.futures) == 1


def test_what_was_refused_is_asked_for_again_a_little_later(next_message, asked, clock):
    next_message.expect(0.0)
    next_message.look()
    asked.answer(False)
    next_message.look()
    assert len(asked.futures) == 1

    clock.now_s += 0.02
    next_message.look()

    assert len(asked.futures) == 2


def test_once_rendered_it_is_asked_for_at_once(next_message, asked):
    next_message.ask()
    asked.answer(False)
    next_message.ask()
    next_message.ask()

    assert len(asked.futures) == 2


def test_a_request_that_nobody_took_up_is_withdrawn_at_the_end(next_message, asked):
    with next_message:
        next_message.expect(0.0)
        next_message.look()

    assert asked.futures[0].cancelled()


def test_a_request_that_is_being_carried_out_is_waited_for(next_message, asked, monkeypatch):
    with next_message:
        next_message.expect(0.0)
        next_message.look()
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
        self.connection = self
        self.callbacks = {"tag-1": print}
        self._active_tags = {names[0]: "tag-1"}

    def consuming_from(self, queue):
        return queue.name in self._active_tags

    def basic_qos(self, *arguments):
        self.told.append(("qos", *arguments))

    def basic_cancel(self, tag, *, nowait):
        assert nowait
        self.told.append(("cancel", tag))

    def _basic_consume(self, queue, *, nowait):
        assert nowait
        self.told.append(("consume", queue.name))


class FakeConsumer:
    """Celery's consumer, with a loop that runs when it is told to."""

    def __init__(self, *names, threads=THREADS):
        self.task_consumer = FakeTasks(*names)
        self.pool = SimpleNamespace(num_processes=threads)
        self.qos_global = True
        self.connection_errors = (ConnectionError,)
        self.qos = SimpleNamespace(value=threads)
        self.loop = []

    def call_soon(self, call, *arguments):
        self.loop.append((call, arguments))

    def turn(self):
        while self.loop:
            call, arguments = self.loop.pop(0)
            call(*arguments)


@pytest.fixture
def at_hand(monkeypatch):
    """Messages that the worker has."""
    requests = {1}
    monkeypatch.setattr(state, "reserved_requests", requests)
    return requests


@pytest.fixture
def consumer(at_hand):
    return FakeConsumer("gpu")


@pytest.fixture
def ahead(consumer):
    ahead = Ahead()
    ahead.serve(consumer)
    return ahead


def told(consumer):
    """What the broker was told after the limit."""
    first, *others = consumer.task_consumer.told
    assert first == ("qos", 0, 1, False)
    return others


def test_the_loop_subscribes_anew_once_it_is_asked_to(ahead, consumer):
    asked = ahead.asker()()
    assert not asked.done()
    assert told(consumer) == []

    consumer.turn()

    assert asked.result(0)
    assert told(consumer) == [("cancel", "tag-1"), ("consume", "gpu")]
    assert consumer.task_consumer.callbacks == {}


def test_a_withdrawn_request_is_not_carried_out(ahead, consumer):
    assert ahead.asker()().cancel()

    consumer.turn()

    assert told(consumer) == []


def refused(ahead, consumer):
    asked = ahead.asker()()
    consumer.turn()
    return asked.result(0) is False and told(consumer) == []


@pytest.mark.parametrize("count", [0, 2])
def test_a_worker_that_has_another_message_or_none_gets_no_more(ahead, consumer, at_hand, count):
    at_hand.clear()
    at_hand.update(range(count))

    assert refused(ahead, consumer)


def test_a_worker_that_is_not_subscribed_gets_no_more(ahead, consumer):
    consumer.task_consumer._active_tags.clear()

    assert refused(ahead, consumer)


def test_a_worker_with_a_second_queue_gets_no_more(ahead, consumer):
    consumer.task_consumer.queues.append(SimpleNamespace(name="added"))

    assert refused(ahead, consumer)


@pytest.mark.parametrize("where", ["connection", "tasks"])
def test_between_two_connections_nothing_is_asked_for(ahead, consumer, where):
    if where == "tasks":
        consumer.task_consumer, tasks = None, consumer.task_consumer
    else:
        tasks = consumer.task_consumer
        tasks.connection = None

    asked = ahead.asker()()
    consumer.turn()

    assert asked.result(0) is False
    assert tasks.told == [("qos", 0, 1, False)]


def test_a_failure_to_subscribe_leaves_nobody_waiting(ahead, consumer, monkeypatch):
    monkeypatch.delattr(FakeTasks, "basic_cancel")
    asked = ahead.asker()()

    with pytest.raises(AttributeError):
        consumer.turn()

    assert asked.result(0) is False


def test_a_connection_that_breaks_under_it_ends_nothing_else(ahead, consumer, monkeypatch):
    def cancel(self, tag, *, nowait):
        raise ConnectionResetError("broken pipe")

    monkeypatch.setattr(FakeTasks, "basic_cancel", cancel)
    asked = ahead.asker()()

    consumer.turn()

    assert asked.result(0) is False


def test_what_came_with_a_connection_that_broke_asks_for_nothing_on_the_next(ahead, consumer):
    ask = ahead.asker()
    ahead.serve(consumer)
    before = len(consumer.task_consumer.told)

    asked = ask()
    consumer.turn()

    assert asked.result(0)  # nor again
    assert len(consumer.task_consumer.told) == before


def test_a_limit_for_each_subscription_is_not_set_to_two_by_celery(at_hand):
    consumer = FakeConsumer("gpu")
    consumer.qos_global = False

    Ahead().serve(consumer)

    assert consumer.qos.value == 1


def test_a_worker_with_one_thread_takes_one_after_the_other(at_hand):
    consumer, ahead = FakeConsumer("gpu", threads=1), Ahead()

    ahead.serve(consumer)

    assert ahead.asker()() is None
    assert consumer.task_consumer.told == []


def test_a_worker_that_serves_nobody_yet_is_asked_in_vain():
    assert Ahead().asker()() is None
