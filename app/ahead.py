"""The next message, taken while what was rendered of the last one is being stored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

from celery.worker import state

THREADS = 2
"""Of a worker that takes the next message before the last is acknowledged."""
LEAD_S = 0.1
"""What it takes, with room, to fetch a message and to look at what is stored of it."""
_AGAIN_S = 0.01
"""Between two requests, of which the first was refused."""


class Ahead:
    """Gets this worker one message more than it has.

    A subscription brings one message until that is acknowledged, so a new one brings the next.
    What came with the old one can still be acknowledged, and brings nothing more then. No other
    limit can be raised on the way: on quorum queues it holds for later subscriptions alone.
    """

    def __init__(self) -> None:
        self._consumer: Any = None

    def serve(self, consumer: Any) -> None:
        """Carry out what is asked from now on in the loop of Celery's *consumer*.

        To be called before it subscribes; nothing is taken ahead without a thread for it.
        """
        self._consumer = consumer if consumer.pool.num_processes == THREADS else None
        if self._consumer is None:
            return
        # One for each subscription. Celery's limit is for the whole channel, or, with quorum
        # queues, also for each subscription: then its loop sets it once more.
        consumer.task_consumer.channel.basic_qos(0, 1, False)
        if not consumer.qos_global:
            consumer.qos.value = 1

    def ask(self) -> Future[bool] | None:
        """Ask for the next message, from the thread that works on one.

        It has to be cancelled or done before that one is acknowledged. The result is whether it
        was asked for: not if the worker has another one, or none may come. ``None`` where it
        takes one at a time.
        """
        if self._consumer is None:
            return None
        asked: Future[bool] = Future()
        self._consumer.call_soon(self._carry_out, asked)
        return asked

    def _carry_out(self, asked: Future[bool]) -> None:
        if not asked.set_running_or_notify_cancel():
            return
        is_done = False
        try:
            is_done = self._subscribe_anew()
        finally:
            asked.set_result(is_done)

    def _subscribe_anew(self) -> bool:
        tasks = self._consumer and self._consumer.task_consumer
        if not tasks or tasks.channel.connection is None:  # between two connections
            return False
        # With several queues, each is a subscription and has had its message; a parked one has
        # none. And the worker may have another message already.
        subscribed = [queue for queue in tasks.queues if tasks.consuming_from(queue)]
        if len(tasks.queues) != 1 or not subscribed or len(state.reserved_requests) != 1:
            return False
        # Waiting for answers here would keep the loop from seeing a dead connection.
        tag = tasks._active_tags.pop(subscribed[0].name)
        tasks.channel.basic_cancel(tag, nowait=True)
        tasks.channel.callbacks.pop(tag, None)
        tasks._basic_consume(subscribed[0], nowait=True)
        return True


class NextMessage:
    """The message after one: asked for within the block, settled when it ends."""

    def __init__(
        self,
        ask: Callable[[], Future[bool] | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._asked: Future[bool] | None = None
        self._due_s = math.inf

    def expect(self, seconds: float) -> None:
        """Expect to be done with the one before in *seconds*, but for storing."""
        self._due_s = self._clock() + seconds - LEAD_S

    def look(self) -> None:
        """Ask for it if it is time."""
        if self._clock() >= self._due_s:
            self.ask()

    def ask(self) -> None:
        """Ask for it unless that was done; once more where it was refused."""
        is_refused = self._asked is not None and self._asked.done() and not self._asked.result()
        if self._asked is None or is_refused:
            self._asked = self._ask()
            self._due_s = self._clock() + _AGAIN_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._asked is not None and not self._asked.cancel():
            self._asked.result()  # it is being done


@lru_cache(maxsize=1)
def own_ahead() -> Ahead:
    """This process's."""
    return Ahead()
