"""The next message, taken while what was rendered of the last one is being stored."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Self

from celery.worker import state

log = logging.getLogger(__name__)
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
        self._connection = 0
        """Which one since this process began."""

    def serve(self, consumer: Any) -> None:
        """Carry out what is asked from now on in the loop of Celery's *consumer*.

        To be called before it subscribes; nothing is taken ahead without a thread for it.
        """
        self._connection += 1
        self._consumer = consumer if consumer.pool.num_processes == THREADS else None
        if self._consumer is None:
            return
        # One for each subscription. Celery's limit is for the whole channel, or, with quorum
        # queues, also for each subscription: then its loop sets it once more.
        consumer.task_consumer.channel.basic_qos(0, 1, False)
        if not consumer.qos_global:
            consumer.qos.value = 1

    def asker(self) -> Callable[[], Future[bool] | None]:
        """What asks for the message after one that came just now.

        To be called by the thread that works on that one. What it returns has to be cancelled or
        done before that one is acknowledged; the result is whether no more need be asked. There
        is none where the worker takes one at a time.
        """
        return partial(self._ask, self._connection)

    def _ask(self, connection: int) -> Future[bool] | None:
        if self._consumer is None:
            return None
        asked: Future[bool] = Future()
        self._consumer.call_soon(self._carry_out, asked, connection)
        return asked

    def _carry_out(self, asked: Future[bool], connection: int) -> None:
        if not asked.set_running_or_notify_cancel():
            return
        # What came with a connection that broke keeps nothing back on the next one.
        is_settled = connection != self._connection
        try:
            is_settled = is_settled or self._subscribe_anew()
        except self._consumer.connection_errors as err:  # Celery finds that too, and connects
            log.info("subscription.broken", extra={"reason": repr(err)[:200]})
        finally:
            asked.set_result(is_settled)

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
        """Expect to be done with the one before in *seconds*, but for storing.

        Infinite where nobody knows.
        """
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
