"""When units of work will all be done, by how long each takes and by who does them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from itertools import groupby
from statistics import NormalDist
from typing import NamedTuple

from app.domain.prediction import SHORTEST_S, Estimate, Shape

_EXACT_ROUNDS = 8
"""Units a worker whose turns are followed one by one; what is before them flows evenly."""


class Worker(NamedTuple):
    """Who takes one unit after the other."""

    kind: str
    """Its device or its name: by that its times are predicted."""
    busy_s: float = 0.0
    """Seconds until it is done with what it has."""


_Times = Sequence[tuple[dict[str, Estimate], int]]
"""Estimates by kind of worker of units that are alike, and how many there are."""


def eta_s(
    pending: Sequence[tuple[Shape, int]],
    workers: Sequence[Worker],
    predict: Callable[[Shape, str], Estimate],
    *,
    ahead_s: float = 0.0,
) -> float:
    """Seconds until *pending*, shapes and how many units of each, and what *workers* have is done.

    *predict* tells a unit's seconds on a kind of worker; the shapes' own devices do not matter.
    Entries that follow each other with one model and stage are done together, the others wait for
    those before them. *ahead_s* of work, over all workers, is done first. Infinite without any
    worker.
    """
    if not workers:
        return math.inf if ahead_s or any(count for _, count in pending) else 0.0
    elapsed_s, kinds = ahead_s / len(workers), {worker.kind for worker in workers}
    stages = groupby(pending, key=lambda entry: (entry[0].model, entry[0].stage))
    for _, stage in stages:
        times = [
            ({kind: _positive(predict(shape, kind)) for kind in kinds}, count)
            for shape, count in stage
            if count > 0
        ]
        times.sort(key=lambda entry: -min(one.mean_s for one in entry[0].values()))
        elapsed_s += _span_s(times, workers) + _tail_s(times, len(workers))
        workers = [Worker(worker.kind) for worker in workers]
    return elapsed_s + max(worker.busy_s for worker in workers)


def _positive(estimate: Estimate) -> Estimate:
    return estimate._replace(mean_s=max(SHORTEST_S, estimate.mean_s))


def _span_s(times: _Times, workers: Sequence[Worker]) -> float:
    """Seconds until independent units are done, the longest first, each where it ends soonest.

    Workers pull, and what a slow one holds at the end is run again by one that idles: that
    comes to about the same as not giving it to the slow one.
    """
    free_s = [worker.busy_s for worker in workers]
    end_s = max(free_s)
    for estimates, count in times:
        each_s = [estimates[worker.kind].mean_s for worker in workers]
        flowing = max(0, count - _EXACT_ROUNDS * len(workers))
        flown_s = flowing / sum(1 / one_s for one_s in each_s)
        ends = [
            (busy_s + flown_s + one_s, place)
            for place, (busy_s, one_s) in enumerate(zip(free_s, each_s, strict=True))
        ]
        heapify(ends)
        for _ in range(count - flowing):
            done_s, place = ends[0]
            end_s = max(end_s, done_s)
            heapreplace(ends, (done_s + each_s[place], place))
        for next_s, place in ends:
            free_s[place] = next_s - each_s[place]
    return end_s


def _tail_s(times: _Times, workers: int) -> float:
    """What the last of the last units takes above the mean: all others wait for it.

    The largest of that many normal variates (Blom 1958). What takes twice its mean, and what a
    slow worker has, is run again by a quick one.
    """
    if not times:
        return 0.0
    estimates, count = times[-1]
    together = min(count, workers)
    deviations = NormalDist().inv_cdf((together - 0.375) / (together + 0.25))
    most = max(min(1.0, deviations * sigma / mean_s) for mean_s, sigma in estimates.values())
    return most * min(mean_s for mean_s, _ in estimates.values())
