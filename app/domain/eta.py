"""When units of work will all be done, by how long each takes and by who does them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from itertools import groupby
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from app.domain.prediction import SHORTEST_S, Shape

Floats = NDArray[np.float64]
Times = NDArray[np.float64]
"""A unit's seconds, mean and standard deviation in a row for each worker."""


def eta_s(
    pending: Sequence[tuple[Shape, int]],
    busy_s: Sequence[float],
    predict: Callable[[Shape], Times],
    *,
    ahead_s: float = 0.0,
) -> float:
    """Seconds until *pending*, shapes and how many units of each, is done.

    By as many workers as *busy_s* has entries: how long each has yet to do with what it has.
    *predict* tells how long each takes; the shapes' own devices do not matter. Entries that follow
    each other with one model and stage are done together, the others wait for those before them.
    *ahead_s* of work, over all workers, is done first. Infinite without any worker.
    """
    if not len(busy_s):
        return math.inf if ahead_s or any(count for _, count in pending) else 0.0
    elapsed_s, free_s = ahead_s / len(busy_s), np.array(busy_s, np.float64)
    for _, stage in groupby(pending, key=lambda entry: (entry[0].model, entry[0].stage)):
        entries = [(_above_zero(predict(shape)), count) for shape, count in stage if count > 0]
        entries.sort(key=lambda entry: -float(entry[0][:, 0].min()))
        for times, count in entries:
            free_s = _after(free_s, times[:, 0], count)
        elapsed_s += float(free_s.max()) + (_tail_s(*entries[-1]) if entries else 0.0)
        free_s = np.zeros_like(free_s)
    return elapsed_s + float(free_s.max())


def _above_zero(times: Times) -> Times:
    """Means of at least ``SHORTEST_S``, for they divide; deviations of at least zero."""
    return np.maximum((SHORTEST_S, 0.0), times)


def _after(free_s: Floats, each_s: Floats, count: int) -> Floats:
    """When each worker is free after *count* units, of which each goes where it ends soonest.

    Workers pull, and what a slow one holds at the end is run again by one that idles: that comes
    to about the same as not giving it to the slow one.
    """
    even_s = _even_s(free_s, each_s, count)
    units = np.floor(np.maximum(0.0, even_s - free_s) / each_s)  # these are given in any case
    next_s = free_s + (units + 1) * each_s
    ends = list(zip(next_s.tolist(), range(len(free_s)), strict=True))
    heapify(ends)
    for _ in range(count - int(units.sum())):
        end_s, place = ends[0]
        units[place] += 1
        heapreplace(ends, (end_s + float(each_s[place]), place))
    return free_s + units * each_s


def _even_s(free_s: Floats, each_s: Floats, count: int) -> float:
    """When all would end together if units could be parted; whoever is busy for longer has none."""
    order = np.argsort(free_s)
    rates = np.cumsum(1 / each_s[order])
    return float(((count + np.cumsum((free_s / each_s)[order])) / rates).min())


def _tail_s(times: Times, count: int) -> float:
    """What the last of the last units takes above the mean: all others wait for it.

    The largest of that many normal variates (Blom 1958). What takes twice its mean, and what a
    slow worker has, is run again by a quick one.
    """
    means_s, sigmas_s = times.T
    together = min(count, len(times))
    deviations = NormalDist().inv_cdf((together - 0.375) / (together + 0.25))
    most = np.minimum(1.0, deviations * sigmas_s / means_s).max()
    return float(most * means_s.min())
