"""Waiting for what happens elsewhere, instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(ask: Callable[[], T], *, limit_s: float = 20.0, every_s: float = 0.02) -> T:
    """The first true answer of *ask*. Raises ``TimeoutError`` when none comes in time."""
    deadline = time.monotonic() + limit_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ask} was not true within {limit_s:g} s")
        time.sleep(every_s)
    return answer
