"""Which of a worker's messages renders: one at a time, each unit in one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_LOOK_S = 0.1
"""Between two looks of who waits, whether that is still wanted."""


class Turns:
    """The renderer of a process, and the messages that want it."""

    def __init__(self) -> None:
        self._renderer = threading.Lock()
        self._claims = threading.Condition()
        self._claimed: set[str] = set()
        # Always the same thread: CUDA's handles and OpenMP's teams belong to one each.
        self._thread = ThreadPoolExecutor(1, "tilechord-rendering")

    @contextmanager
    def claimed(self, units: Collection[str], look: Callable[[], None]) -> Iterator[None]:
        """Claim *units*, by their keys, until the block ends, once no other message has any.

        One that comes again to the worker which still has it, after its connection broke, waits
        here, and finds them done. *look* is called while it waits and may raise.
        """
        with self._claims:
            while not self._claimed.isdisjoint(units):
                self._claims.wait(_LOOK_S)
                look()
            self._claimed |= set(units)
        try:
            yield
        finally:
            with self._claims:
                self._claimed -= set(units)
                self._claims.notify_all()

    @contextmanager
    def taken(self, look: Callable[[], None]) -> Iterator[None]:
        """Have the renderer until the block ends.

        *look* is called while another message has it, and may raise.
        """
        while not self._renderer.acquire(timeout=_LOOK_S):
            look()
        try:
            yield
        finally:
            self._renderer.release()

    def run(self, step: Callable[[], T]) -> T:
        """What *step* returns, in the thread that renders."""
        return self._thread.submit(step).result()
