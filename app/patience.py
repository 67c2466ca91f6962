"""Attempts at one step, in this process: a delayed message would be held by one worker."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from app.domain.errors import TransientError
from app.domain.retry import backoff_s
from app.settings import Settings

T = TypeVar("T")
_LOOK_EVERY_S = 0.1


class WorkerStoppingError(Exception):
    """The worker was told to stop while it waited; its message belongs back in the queue."""


def is_worker_stopping() -> bool:
    """Whether this process's Celery worker was told to stop."""
    from celery.worker import state  # a client has no worker and starts sooner without

    marks = (state.should_stop, state.should_terminate)
    return any(mark is not None and mark is not False for mark in marks)  # 0 is an exit code


def submitted(threads: ThreadPoolExecutor, step: Callable[[], T]) -> Future[T]:
    """*step*, begun in one of *threads*. Raises ``WorkerStoppingError`` while Python ends."""
    try:
        return threads.submit(step)
    except RuntimeError as err:
        raise WorkerStoppingError("this process is ending") from err


def nothing(*_: object) -> None:
    """For those who have nothing to check and nothing to note."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how patiently a step that failed for now is tried again."""

    retries: int
    base_s: float
    cap_s: float
    is_stopping: Callable[[], bool] = is_worker_stopping
    chance: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, chosen: Settings) -> Patience:
        return cls(chosen.max_retries, chosen.retry_base_s, chosen.retry_cap_s)

    def attempt(
        self,
        step: Callable[[], T],
        *,
        check: Callable[[], None] = nothing,
        note: Callable[[TransientError], None] = nothing,
        is_final: Callable[[TransientError], bool] = lambda _: False,
    ) -> T:
        """What *step* returns, after as many attempts as it needs and may have.

        *check* is called while it waits and may raise; *note* sees every failure that another
        attempt follows. Raises the last ``TransientError`` when the retries are used up or
        *is_final* says that none would help, ``WorkerStoppingError`` when the worker stops first.
        """
        for attempt in range(self.retries):
            try:
                return step()
            except TransientError as err:
                if is_final(err):
                    raise
                note(err)
            self.wait(backoff_s(attempt, self.base_s, self.cap_s, self.chance()), check)
        return step()

    def pause(self) -> None:
        """Wait as before one more attempt, which somebody else will make."""
        self.wait(backoff_s(self.retries, self.base_s, self.cap_s, self.chance()))

    def wait(self, seconds: float, check: Callable[[], None] = nothing) -> None:
        """Let *seconds* pass, in parts: a cancelled job or a stopping worker ends it."""
        left_s = seconds
        while left_s > 0:
            self.look(check)
            part_s = min(left_s, _LOOK_EVERY_S)
            self.sleep(part_s)
            left_s -= part_s

    def look(self, check: Callable[[], None] = nothing) -> None:
        """Raises ``WorkerStoppingError`` once the worker stops, or what *check* does."""
        if self.is_stopping():
            raise WorkerStoppingError
        with suppress(TransientError):  # what cannot be asked now will be asked again
            check()
