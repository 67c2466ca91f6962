"""How a worker takes messages, where Celery's own way would lose one, or wait for the next."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Connection

from app.ahead import own_ahead
from app.node_queues import node_queue, strategy_of
from app.queues import dead_queue, queue_name
from app.settings import settings

log = logging.getLogger(__name__)


class Consumer(CeleryConsumer):
    """Sees to it that what cannot be handled is kept: Celery would acknowledge what it cannot
    decode, and RabbitMQ drops dead letters that no queue is bound for.

    Where a strategy chooses nodes, it takes from a queue of its own beside its pools'.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        queues, chosen = self.app.amqp.queues, settings()
        served = [pool for pool in chosen.pools if queue_name(pool) in queues.consume_from]
        if any(strategy_of(chosen, pool).names_node for pool in served):
            queues.select_add(node_queue(chosen, str(self.hostname)))

    def connect(self) -> Connection:
        connection: Connection = super().connect()
        if not settings().is_embedded:
            dead_queue()(connection.default_channel).declare()
        return connection

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        if not settings().is_embedded:
            own_ahead().serve(self)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        log.error(
            "message.undecodable",
            extra={"content_type": message.content_type, "reason": repr(exc)[:200]},
        )
        message.reject_log_error(log, self.connection_errors)  # type: ignore[attr-defined]
