"""What a call leaves of its caller's memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable


class Tensor:
    """What a caller holds while it calls."""


def frees_its_caller(call: Callable[[], object]) -> bool:
    """Whether a caller of *call* is freed when it ends, before Python looks for circles.

    An error that a frame keeps keeps every caller's frame, and whatever they hold.
    """
    held = []

    def caller() -> None:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        call()

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        caller()
        return held[0]() is None
    finally:
        if was_enabled:
            gc.enable()
