"""The next message, taken while what was rendered of the last one is being stored."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from queue import Empty, SimpleQueue
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
        self._asked: SimpleQueue[Future[bool]] = SimpleQueue()
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def serve(self, consumer: Any, hub: Any) -> None:
        """Carry out in *hub*, the loop of Celery's *consumer*, what is asked from now on.

        To be called before it subscribes. Nothing is taken ahead with several queues, each a
        subscription, or without a thread that could begin with it.
        """
        tasks = consumer.task_consumer
        is_able = len(tasks.queues) == 1 and consumer.pool.num_processes == THREADS
        self._consumer = consumer if is_able else None
        if is_able:
            tasks.channel.basic_qos(0, 1, False)  # beside Celery's limit for the whole channel
            hub.add_reader(self._woken, self._carry_out)

    def ask(self) -> Future[bool] | None:
        """Ask for the next message, from the thread that works on one.

        It has to be cancelled or done before that one is acknowledged. The result is whether it
        was asked for: not if the worker has another one. ``None`` where it takes one at a time.
        """
        if self._consumer is None:
            return None
        asked: Future[bool] = Future()
        self._asked.put(asked)
        with suppress(BlockingIOError):  # woken already
            os.write(self._waker, b"\0")
        return asked

    def _carry_out(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
        with suppress(Empty):
            while asked := self._asked.get_nowait():
                if not asked.set_running_or_notify_cancel():
                    continue
                is_taken = False
                try:
                    is_taken = self._subscribe_anew()
                finally:
                    asked.set_result(is_taken)

    def _subscribe_anew(self) -> bool:
        tasks = self._consumer and self._consumer.task_consumer
        if tasks is None or len(state.reserved_requests) != 1:
            return False
        for queue in tasks.queues:
            tag = tasks._active_tags.pop(queue.name, None)
            if tag is None:  # parked by the load guard
                return False
            # Waiting for an answer here would keep the loop from seeing a dead connection.
            tasks.channel.basic_cancel(tag, nowait=True)
            tasks.channel.callbacks.pop(tag, None)
            tasks._basic_consume(queue, nowait=True)
        return True


class Following:
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
