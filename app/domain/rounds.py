"""What it costs that the tiles of a phase wait for one another."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from app.domain.plan import RenderPlan
from app.domain.work import WORKER_STAGES, Run, Stage, Work, image_work, unit_name


def round_latencies(plan: RenderPlan, runs: Iterable[Run]) -> list[float]:
    """Seconds from the end of each phase's last tile to the start of the first unit after it.

    Joining, merging and sending, and the wait for a free worker. One value per image and phase, of
    what *runs* tell both ends of: a phase that was in the store already has none. A unit that ran
    twice ended when its first run did. Never negative, whatever two machines' clocks say.
    """
    start_ms: dict[str, float] = {}
    end_ms: dict[str, float] = {}
    for run in runs:
        _keep_least(start_ms, run.unit, run.started_ms)
        _keep_least(end_ms, run.unit, run.started_ms + 1000 * run.seconds)
    latencies = []
    for phase, following in _rounds(plan):
        ends = [end_ms[unit] for unit in _names(plan, phase) if unit in end_ms]
        starts = [start_ms[unit] for unit in _names(plan, following) if unit in start_ms]
        if ends and starts:
            latencies.append(max(min(starts) - max(ends), 0.0) / 1000)
    return latencies


def _keep_least(values: dict[str, float], unit: str, value: float) -> None:
    values[unit] = min(value, values.get(unit, value))


def _rounds(plan: RenderPlan) -> Iterable[tuple[tuple[Work, ...], tuple[Work, ...]]]:
    """The tiles of every image's phases, each with the workers' units that follow them."""
    for image in range(plan.spec.count):
        groups = [group for group in image_work(plan, image) if group[0].stage in WORKER_STAGES]
        yield from (pair for pair in pairwise(groups) if pair[0][0].stage is Stage.TILE)


def _names(plan: RenderPlan, works: Iterable[Work]) -> Iterable[str]:
    return (unit_name(plan, work) for work in works)
