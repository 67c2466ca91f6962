"""Units that take far longer than predicted, to be given to a worker that has nothing to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Unit = TypeVar("Unit", bound=Hashable)

_TIMES = 2.0
_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class Running(Generic[Unit]):
    """A unit that *node* renders, for *elapsed_s* so far."""

    unit: Unit
    node: str
    elapsed_s: float


def stragglers(
    running: Sequence[Running[Unit]],
    predicted: Callable[[Running[Unit]], tuple[float, float]],
    idle_workers: int,
) -> list[Unit]:
    """Units worth a second run, the slowest first, no more than *idle_workers*.

    *predicted* tells mean and standard deviation in seconds of the unit's run on a worker that
    idles: what a slow worker needs itself says nothing of what a second run would save. A unit
    that two nodes render already is left to them.
    """
    runs = Counter(run.unit for run in running)
    late = []
    for run in running:
        mean_s, sigma_s = predicted(run)
        limit_s = max(_TIMES * mean_s, mean_s + _DEVIATIONS * sigma_s)
        if runs[run.unit] == 1 and run.elapsed_s > limit_s:
            late.append((run.elapsed_s / max(mean_s, 1e-9), run.unit))
    late.sort(key=lambda entry: -entry[0])
    return [unit for _, unit in late[: max(0, idle_workers)]]
