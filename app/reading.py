"""Blobs read before they are asked for: a store answers each after milliseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from app.patience import submitted

T = TypeVar("T")
V = TypeVar("V")


def read_ahead(items: Iterable[T], read: Callable[[T], V], *, at_once: int) -> Iterator[V]:
    """What *read* gives for each of *items*, in their order.

    *at_once* threads read; as many results are held at most, the one in use among them.
    Raises what *read* raises, after the results before it; what is not begun then is left. Raises
    ``WorkerStoppingError`` while Python ends.
    """
    pending: deque[Future[V]] = deque()
    with ThreadPoolExecutor(at_once, "tilechord-reading") as threads:
        try:
            for item in items:
                if len(pending) == at_once:
                    yield pending.popleft().result()
                pending.append(submitted(threads, partial(read, item)))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
