"""What the dispatcher asks of the broker: how much waits, and taking more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import AMQPError, ChannelError
from kombu import Connection
from kombu.exceptions import KombuError

from app.bootstrap import Runtime
from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.spec import Priority
from app.domain.work import Stage, Work, stage_model
from app.node_queues import NODES, node_queue_name
from app.queues import (
    broker_error,
    connect,
    plan_route,
    pool_of,
    queue_name,
    route,
    translated_send_errors,
)
from app.workflow import RENDER, advance_signature, slice_tasks

_NOT_FOUND = "404"


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages waiting in a pool's queue, and its consumers as the broker counts them."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Units of one stage and phase that are published together."""

    units: tuple[Work, ...]
    priority: Priority
    attempt: int = 0
    batch: int = 1
    """Units of one message, at most."""
    nodes: tuple[str, ...] = ()
    """Whose queue each unit is put into; without any it is the pool's."""
    pool: str = ""
    """The pool that takes the units over; without one it is the one that they are bound to."""


class Publisher:
    """Sends messages; holds the connection that asks for queue depths."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._url = runtime.settings.broker_url.get_secret_value()
        self._connection: Connection | None = None

    def depth(self, pool: str, node: str = "") -> Depth:
        """Of the pool's queue, or of the *node*'s.

        Raises ``BrokerUnavailableError`` when the broker does not answer in time.
        """
        name = node_queue_name(node) if node else queue_name(pool)
        try:
            channel: Any = self._channel()
            state = channel.queue_declare(name, passive=True)
            channel.close()
        except ChannelError as err:
            if str(err.reply_code) != _NOT_FOUND:
                raise broker_error(self._url, err) from err
            return Depth(0, 0)  # the broker was emptied, or no worker ever served it
        except (KombuError, AMQPError, OSError) as err:
            self.close()
            raise broker_error(self._url, err) from err
        return Depth(state.message_count, state.consumer_count)

    def control_backlog(self) -> int:
        """Messages that wait for the control workers: plans, merges and results."""
        routed = (
            plan_route(self._runtime.settings, Priority.NORMAL),
            route(self._runtime.settings, Stage.MERGE, "", Priority.NORMAL),
        )
        return sum(self.depth(pool).ready for pool in {_pool(options) for options in routed})

    def send_slice(self, job_id: str, plan: RenderPlan, sent: Slice) -> None:
        """Publish the units of *sent*, with their callback if they have one."""
        if sent.nodes:
            self._declare_nodes()
        with translated_send_errors(self._runtime.settings):
            slice_tasks(
                self._runtime,
                job_id,
                plan,
                sent.units,
                sent.priority,
                attempt=sent.attempt,
                batch=sent.batch,
                nodes=sent.nodes,
                pool=sent.pool,
            ).apply_async()

    def send_plan(self, job_id: str, request: dict[str, Any], priority: Priority) -> None:
        """Publish the planning of a job whose message was lost."""
        options = plan_route(self._runtime.settings, priority)
        with translated_send_errors(self._runtime.settings):
            celery.send_task(RENDER, args=(request,), task_id=job_id, **options)

    def send_advance(
        self, job_id: str, priority: Priority, images: Sequence[int] | None = None
    ) -> None:
        """Publish the control worker's task for *images*, or for the whole job."""
        with translated_send_errors(self._runtime.settings):
            advance_signature(self._runtime, job_id, priority, images).apply_async()

    def pool_of(self, plan: RenderPlan, stage: Stage) -> str:
        """The pool that renders units of *stage*."""
        options = route(self._runtime.settings, stage, stage_model(plan, stage), Priority.NORMAL)
        return _pool(options)

    def close(self) -> None:
        if self._connection is not None:
            with suppress(OSError, KombuError, AMQPError):
                self._connection.release()
            self._connection = None

    def _declare_nodes(self) -> None:
        """Celery declares queues alone, and who publishes to no exchange is cut off."""
        try:
            channel: Any = self._channel()
            NODES(channel).declare()
            channel.close()
        except (KombuError, AMQPError, OSError) as err:
            self.close()
            raise broker_error(self._url, err) from err

    def _channel(self) -> Any:
        if self._connection is None:
            limit_s = self._runtime.settings.broker_timeout_s
            timeouts = {"read_timeout": limit_s, "write_timeout": limit_s}
            embedded = self._runtime.settings.is_embedded
            self._connection = Connection(
                self._url,
                connect_timeout=limit_s,
                transport_options={} if embedded else timeouts,
            )
            connect(self._connection)
        return self._connection.channel()


def _pool(options: Mapping[str, Any]) -> str:
    return pool_of(options["routing_key"])
