"""Which of a worker's messages renders: one at a time, each unit in one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from app.patience import submitted

T = TypeVar("T")
_LOOK_S = 0.1
"""Between two looks of who waits, whether that is still wanted."""


class Turns:
    """The renderer of a process, and the messages that want it."""

    def __init__(self) -> None:
        self._claims = threading.Condition()
        self._claimed: set[str] = set()
        # One at a time, and always the same: CUDA's handles and OpenMP's teams belong to one each.
        self._thread = ThreadPoolExecutor(1, "tilechord-rendering")

    @contextmanager
    def claimed(self, units: Collection[str], look: Callable[[], None]) -> Iterator[None]:
        """Claim *units*, by their keys, until the block ends, once no other message has any.

        One that comes again to the worker which still has it, after its connection broke, waits
        here, and finds them done. *look* is called while it waits and may raise.
        """
        while not self._claim(units):
            look()  # without the lock: a silent store takes its time
        try:
            yield
        finally:
            with self._claims:
                self._claimed -= set(units)
                self._claims.notify_all()

    def _claim(self, units: Collection[str]) -> bool:
        """Claim *units* unless another message has some of them still, after a while."""
        with self._claims:
            is_free = self._claims.wait_for(lambda: self._claimed.isdisjoint(units), _LOOK_S)
            if is_free:
                self._claimed |= set(units)
        return is_free

    def run(self, step: Callable[[], T], look: Callable[[], None]) -> T:
        """What *step* returns, in the thread that renders, after those of other messages.

        *look* is called until then and may raise.
        """
        future = submitted(self._thread, step)
        while not (future.running() or future.done()):
            wait([future], _LOOK_S)
            try:
                look()
            except Exception:
                if future.cancel():
                    raise
                break  # begun meanwhile: the step looks itself
        return future.result()
