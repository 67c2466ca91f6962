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
    """A unit that some node renders, for *elapsed_s* so far."""

    unit: Unit
    elapsed_s: float
    expected_s: float | None = None
    """What that node was predicted to need for it in all, if its speed is known."""
    least_s: float = 0.0
    """It does not hang before that."""


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
        if runs[run.unit] == 1 and _is_late(run, mean_s, sigma_s):
            took_s = max(run.elapsed_s, run.expected_s or 0.0)
            late.append((took_s / max(mean_s, 1e-9), run.unit))
    late.sort(key=lambda entry: -entry[0])
    return [unit for _, unit in late[: max(0, idle_workers)]]


def _is_late(run: Running[Unit], mean_s: float, sigma_s: float) -> bool:
    """It hangs, or a run that starts now would end before it (Zaharia et al. 2008)."""
    surely_s = mean_s + _DEVIATIONS * sigma_s
    if run.elapsed_s > max(_TIMES * mean_s, surely_s, run.least_s):
        return True
    return run.expected_s is not None and run.expected_s - run.elapsed_s > surely_s
