"""One message more than a worker has, from a real broker."""

from functools import partial
from types import SimpleNamespace
from uuid import uuid4

import pytest
from celery.worker import state
from kombu import Connection, Consumer, Producer, Queue
from kombu.common import QoS

from app.ahead import THREADS, Ahead

pytestmark = pytest.mark.integration

CLASSIC = {"x-max-priority": 10}
QUORUM = {"x-queue-type": "quorum"}


class Worker:
    """Takes messages from *queue* as Celery does, in this thread."""

    def __init__(self, connection, queue, *, is_quorum):
        self._connection = connection
        self.taken = []
        self.task_consumer = Consumer(connection.default_channel, [queue], on_message=self._take)
        self.pool = SimpleNamespace(num_processes=THREADS)
        self.connection_errors = connection.connection_errors
        self.qos_global = not is_quorum  # as Celery has it
        self.task_consumer.channel.basic_qos(0, THREADS, self.qos_global)
        self.qos = QoS(self._limit, THREADS)
        self.ahead, self._calls = Ahead(), []
        self.ahead.serve(self)
        self.task_consumer.consume()
        self.turn()

    def _limit(self, prefetch_count):
        self.task_consumer.qos(prefetch_count=prefetch_count, apply_global=self.qos_global)

    def call_soon(self, call, *arguments):
        self._calls.append(partial(call, *arguments))

    def turn(self):
        """What Celery's loop does in a round."""
        if self.qos.prev != self.qos.value:
            self.qos.update()
        while self._calls:
            self._calls.pop(0)()

    def _take(self, message):
        self.taken.append(message)
        state.reserved_requests.add(message)

    def listen(self, seconds=0.5):
        """What it has taken after a while."""
        try:
            while True:
                self._connection.drain_events(timeout=seconds)
        except TimeoutError:
            return [message.payload for message in self.taken]

    def acknowledge(self, number):
        self.taken[number].ack()
        state.reserved_requests.discard(self.taken[number])

    def ask(self):
        asked = self.ahead.asker()()
        self.turn()
        return asked.result(0)


@pytest.fixture(params=[CLASSIC, QUORUM], ids=["classic", "quorum"])
def worker(broker_url, request, monkeypatch):
    monkeypatch.setattr(state, "reserved_requests", set())
    arguments = {**request.param, "x-expires": 60_000}
    name = f"ahead-{uuid4().hex}"
    queue = Queue(name, queue_arguments=arguments, durable=True)
    with Connection(broker_url) as connection:
        bound = queue.bind(connection.default_channel)
        bound.declare()
        for number in range(4):
            Producer(connection.default_channel).publish(number, routing_key=name)
        yield Worker(connection, queue, is_quorum=request.param is QUORUM)


def test_a_worker_has_one_message_until_it_asks_for_the_next(worker):
    assert worker.listen() == [0]

    assert worker.ask()

    assert worker.listen() == [0, 1]
    assert not worker.ask()  # it has the next one


def test_what_it_had_before_brings_no_third_one_when_it_is_acknowledged(worker):
    worker.listen()
    worker.ask()
    worker.listen()

    worker.acknowledge(0)
    assert worker.listen() == [0, 1]

    assert worker.ask()
    assert worker.listen() == [0, 1, 2]
    worker.acknowledge(1)
    worker.acknowledge(2)
    assert worker.listen() == [0, 1, 2, 3]


def test_who_does_not_ask_gets_the_next_when_the_last_is_acknowledged(worker):
    worker.listen()

    worker.acknowledge(0)

    assert worker.listen() == [0, 1]


def test_a_parked_worker_gets_none_and_goes_on_where_it_was(worker):
    worker.listen()
    (queue,) = worker.task_consumer.queues
    worker.task_consumer.cancel_by_queue(queue)

    assert not worker.ask()
    worker.acknowledge(0)
    assert worker.listen() == [0]

    worker.task_consumer.add_queue(queue)
    worker.task_consumer.consume()
    assert worker.listen() == [0, 1]


def test_who_dies_gives_all_it_had_back(worker, broker_url):
    worker.listen()
    worker.ask()
    worker.listen()

    queue = worker.task_consumer.queues[0].name
    worker.task_consumer.channel.close()

    with Connection(broker_url) as connection:
        assert connection.default_channel.queue_declare(queue, passive=True).message_count == 4
