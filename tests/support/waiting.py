"""Waiting for what happens elsewhere, instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


class Living(Protocol):
    """A process of which one can ask whether it has ended."""

    def poll(self) -> int | None: ...


def wait_for(ask: Callable[[], T], *, limit_s: float = 20.0, every_s: float = 0.02) -> T:
    """The first true answer of *ask*. Raises ``TimeoutError`` when none comes in time."""
    deadline = time.monotonic() + limit_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ask} was not true within {limit_s:g} s")
        time.sleep(every_s)
    return answer


def wait_until_ready(log: Path, process: Living, *, limit_s: float = 90.0) -> None:
    """Wait until a worker writes to *log* that it takes work.

    Raises ``RuntimeError`` with the end of the log when it ends instead.
    """
    wait_for(lambda: b" ready." in log.read_bytes() or process.poll() is not None, limit_s=limit_s)
    if process.poll() is not None:
        raise RuntimeError(f"the worker did not start:\n{log.read_text()[-2000:]}")
