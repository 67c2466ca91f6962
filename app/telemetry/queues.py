"""Queue depths for Prometheus, asked of the broker over AMQP, and the work that waits for pools.

Needs no management plugin and works on every RabbitMQ. AMQP tells ready messages and consumers;
it does not tell messages in workers' hands nor how old a message is. For those, and only for
those, scrape RabbitMQ's own ``rabbitmq_prometheus`` plugin as well, at ``/metrics/per-object``:
``time() - rabbitmq_queue_head_message_timestamp`` is the age of the message that is next. Older
ones of a lower priority may wait behind it; workers tell afterwards how long each one waited.
Quorum queues do not tell it (rabbitmq-server issue 6813).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Protocol

from kombu import Connection
from kombu.exceptions import OperationalError
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from app.domain.errors import BrokerUnavailableError
from app.live.open import open_board
from app.nodes import read_nodes
from app.queues import broker_error, connect, dead_queue, queues
from app.settings import Settings
from app.telemetry.pools import read_pools

log = logging.getLogger(__name__)


class QueueState(Protocol):
    """What a passive declare answers."""

    @property
    def queue(self) -> str: ...
    @property
    def message_count(self) -> int: ...
    @property
    def consumer_count(self) -> int: ...


class QueueCollector:
    """Asks the broker anew at every scrape; a broker that is down is a value, not an error."""

    def __init__(self, chosen: Settings) -> None:
        self._url = chosen.broker_url.get_secret_value()
        self._timeout_s = chosen.broker_timeout_s
        self._heartbeat_s = chosen.heartbeat_s
        self._names = [queue.name for queue in [*queues(chosen), dead_queue()]]
        self._errors = 0
        self._board = open_board(chosen)

    def collect(self) -> Iterator[Metric]:
        states = self._ask()
        up = GaugeMetricFamily("tilechord_broker_up", "1 when the broker answered this scrape")
        up.add_metric([], 0 if states is None else 1)
        ready = GaugeMetricFamily(
            "tilechord_queue_messages_ready", "Messages waiting for a worker", labels=["queue"]
        )
        consumers = GaugeMetricFamily(
            "tilechord_queue_consumers", "Workers consuming the queue", labels=["queue"]
        )
        for state in states or []:
            ready.add_metric([state.queue], state.message_count)
            consumers.add_metric([state.queue], state.consumer_count)
        errors = CounterMetricFamily(
            "tilechord_queue_scrape_errors", "Scrapes the broker did not answer"
        )
        errors.add_metric([], self._errors)
        return iter([up, ready, consumers, errors, *self._work()])

    def _work(self) -> tuple[Metric, ...]:
        """What waits for each pool; nothing while the board or the dispatcher is down."""
        up = GaugeMetricFamily("tilechord_board_up", "1 when the live board answered this scrape")
        pending, jobs, oldest = (
            GaugeMetricFamily(f"tilechord_{name}", text, labels=["pool"])
            for name, text in (
                ("pending_seconds", "Predicted seconds of work that wait, on one worker"),
                ("open_jobs", "Jobs in line for the pool"),
                ("oldest_job_seconds", "Since the oldest job in line was accepted"),
            )
        )
        try:
            pools = read_pools(self._board)
        except BrokerUnavailableError as err:
            log.info("board.unknown", extra={"reason": str(err)})
            up.add_metric([], 0)
            return up, pending, jobs, oldest
        up.add_metric([], 1)
        for name, pool in sorted(pools.items()):
            pending.add_metric([name], pool.pending_s)
            jobs.add_metric([name], pool.open_jobs)
            oldest.add_metric([name], pool.oldest_s)
        return up, pending, jobs, oldest

    def _node_queues(self) -> list[str]:
        """Queues of living nodes, where a strategy chooses them: most units wait there then."""
        try:
            nodes = read_nodes(self._board, self._heartbeat_s)
        except BrokerUnavailableError:  # told by ``tilechord_board_up``
            return []
        return [node.queue for node in nodes if node.queue and not node.is_lost]

    def describe(self) -> Iterator[Metric]:
        """Registering must not ask the broker; no metric of another collector shares a name."""
        return iter([])

    def _ask(self) -> list[QueueState] | None:
        names = [*self._names, *self._node_queues()]
        connection = Connection(self._url, connect_timeout=self._timeout_s)
        unreachable: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,
            *connection.connection_errors,
        )
        try:
            with connection:
                connect(connection)  # before a channel is asked for: that would try for ever
                states = [self._state(connection, name) for name in names]
        except unreachable as err:
            self._errors += 1
            log.info("queues.unknown", extra={"reason": str(broker_error(self._url, err))})
            return None
        return [state for state in states if state is not None]

    def _state(self, connection: Connection, name: str) -> QueueState | None:
        """The queue's state; ``None`` before the first worker or client has declared it."""
        channel: Any = connection.channel()  # a refused declare closes its channel
        try:
            state: QueueState = channel.queue_declare(name, passive=True)
        except connection.channel_errors:
            return None
        channel.close()
        return state
