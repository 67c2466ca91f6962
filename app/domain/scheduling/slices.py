"""How many units go out at once, and in which order: large first, single at the tail."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

Unit = TypeVar("Unit")

UNITS_A_WORKER = 2
"""A pool's queue never holds less: one unit rendered, one at hand when it is done."""

_MOST_UNITS = 64
_SHORTEST_UNIT_S = 1e-3  # a prediction of nothing would ask for an endless queue


def batch_size(pending_units: int, workers: int, most: int) -> int:
    """Units of one message, which one worker renders: a quarter of the rest, over the workers.

    Guided self-scheduling (Polychronopoulos & Kuck 1987), and half of its share: what is in a
    message cannot be taken over, and the worker that took it may be the slowest. 0 when nothing
    is pending.
    """
    return min(pending_units, max(1, min(pending_units // (4 * max(1, workers)), most)))


def units_within(seconds: float, unit_s: float) -> int:
    """How many units of *unit_s* one message carries for *seconds* of work: each costs the same
    whatever it carries, and a worker that asks for the next one waits."""
    return round(min(seconds / max(unit_s, _SHORTEST_UNIT_S), _MOST_UNITS))


def longest_first(units: Iterable[Unit], seconds: Callable[[Unit], float]) -> list[Unit]:
    """*units* by falling *seconds*, equal ones as they came (Graham's LPT)."""
    return sorted(units, key=lambda unit: -seconds(unit))


def room(ready_units: int, unit_s: float, workers: int, lookahead_s: float) -> int:
    """How many units more a pool's queue should get, to hold *lookahead_s* of work.

    Nothing before half of that is taken: every slice has a callback of its own, and one for each
    unit would double the messages. A pool without workers is filled as for one: whoever starts
    first finds something to do.
    """
    workers = max(1, workers)
    enough = math.ceil(workers * lookahead_s / max(unit_s, _SHORTEST_UNIT_S))
    enough = max(enough, UNITS_A_WORKER * workers)
    return 0 if 2 * ready_units > enough else enough - ready_units
