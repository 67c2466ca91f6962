"""How long units of work take, learned from those that were done; when a job will be done."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from heapq import heapify, heapreplace
from itertools import groupby
from statistics import NormalDist
from typing import NamedTuple

DEFAULT_S = 1.0
"""Seconds of a unit when nothing like it was ever seen."""

_RECORD_VERSION = 1
_GAIN = 1 / 32
"""Weight of a new duration, once 32 were seen; half of what is known is then 22 units old."""
_GUESSED_SPREAD = 0.5
"""Standard deviation over mean of a guess."""
_EXACT_ROUNDS = 8
"""Units a worker whose turns are followed one by one; what is before them flows evenly."""
_SHORTEST_S, _LONGEST_S = 1e-6, 1e9
_SMALLEST, _LARGEST = 1e-6, 1e18


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides how long a unit takes."""

    model: str
    stage: str
    area: float
    """What its seconds grow with: latents or pixels, times steps."""
    device: str


class Estimate(NamedTuple):
    """Mean and standard deviation of a unit's seconds."""

    mean_s: float
    sigma: float

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.mean_s * factor, self.sigma * factor)


_Times = Sequence[tuple[dict[str, Estimate], int]]
"""Estimates by device of units that are alike, and how many there are."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Moving mean and variance of the logarithm of seconds: durations scatter by factors."""

    log_mean: float
    log_variance: float
    count: int

    def after(self, seconds: float) -> _Seen:
        """The first durations count alike, later ones forget the oldest (Welford, West 1979)."""
        count = self.count + 1
        gain = max(_GAIN, 1 / count)
        distance = math.log(max(seconds, _SHORTEST_S)) - self.log_mean
        return _Seen(
            self.log_mean + gain * distance,
            (1 - gain) * (self.log_variance + gain * distance**2),
            count,
        )

    @property
    def estimate(self) -> Estimate:
        """Of the log-normal distribution with these moments."""
        variance = min(self.log_variance, 4.0)  # a few wild ones: no mean of days
        mean_s = math.exp(self.log_mean + variance / 2)
        return Estimate(mean_s, mean_s * math.sqrt(math.expm1(variance)))


class Predictor:
    """Seconds of every shape, as learned; the *most_shapes* seen last are kept."""

    def __init__(self, most_shapes: int = 1000) -> None:
        self._most_shapes = most_shapes
        self._seen: OrderedDict[Shape, _Seen] = OrderedDict()
        self._alike: defaultdict[tuple[str, str], set[Shape]] = defaultdict(set)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What is known, the one seen last at the end."""
        return tuple(self._seen)

    def observe(self, shape: Shape, seconds: float) -> None:
        """Learn from a unit that took *seconds*; what no unit can take is left aside."""
        if not (_is_sane(shape) and 0 < seconds < _LONGEST_S):
            return
        self._keep(shape, self._seen.get(shape, _Seen(0.0, 0.0, 0)).after(seconds))

    def has_seen(self, shape: Shape) -> bool:
        """Whether units of just this shape were rendered."""
        return shape in self._seen

    def predict(self, shape: Shape, *, guess_s: float = DEFAULT_S) -> Estimate:
        """From its own durations, or scaled by area from the nearest of the same device, or
        else of another device; *guess_s* where model and stage were never seen.
        """
        seen = self._seen.get(shape)
        if seen is not None:
            return seen.estimate
        nearest = self._nearest(shape)
        if nearest is None:
            return Estimate(guess_s, guess_s * _GUESSED_SPREAD)
        return self._seen[nearest].estimate.scaled(_clipped(shape.area) / nearest.area)

    def to_record(self) -> dict[str, object]:
        """JSON values alone, the shape seen last at the end."""
        rows = [[*astuple(shape), *astuple(seen)] for shape, seen in self._seen.items()]
        return {"version": _RECORD_VERSION, "shapes": rows}

    @classmethod
    def from_record(cls, record: object, most_shapes: int = 1000) -> Predictor:
        """What :meth:`to_record` gave; rows that make no sense are left out."""
        predictor = cls(most_shapes)
        if not isinstance(record, dict) or record.get("version") != _RECORD_VERSION:
            return predictor
        rows = record.get("shapes")
        for row in rows if isinstance(rows, list) else []:
            found = _parse(row)
            if found is not None:
                predictor._keep(*found)
        return predictor

    def _keep(self, shape: Shape, seen: _Seen) -> None:
        self._seen[shape] = seen
        self._seen.move_to_end(shape)
        self._alike[shape.model, shape.stage].add(shape)
        if len(self._seen) > self._most_shapes:
            oldest, _ = self._seen.popitem(last=False)
            alike = self._alike[oldest.model, oldest.stage]
            alike.remove(oldest)
            if not alike:
                del self._alike[oldest.model, oldest.stage]

    def _nearest(self, shape: Shape) -> Shape | None:
        """Of its device before others, then by ratio of areas, then the one seen most often."""
        log_area = math.log(_clipped(shape.area))
        return min(
            self._alike.get((shape.model, shape.stage), ()),
            key=lambda other: (
                other.device != shape.device,
                abs(math.log(other.area) - log_area),
                -self._seen[other].count,
                other.device,
            ),
            default=None,
        )


def eta_s(
    pending: Sequence[tuple[Shape, int]],
    predictor: Predictor,
    workers: Mapping[str, int],
    *,
    guess_s: float = DEFAULT_S,
    ahead_s: float = 0.0,
) -> float:
    """Seconds until *pending*, shapes and how many units of each, is done.

    *workers* are counted by device; the shapes' own devices do not matter. Entries that follow
    each other with one model and stage are done together, the others wait for those before
    them. *ahead_s* of work, over all workers, is done first. Infinite without any worker.
    """
    pending = [(shape, count) for shape, count in pending if count > 0]
    crew = {device: count for device, count in workers.items() if count > 0}
    if not pending and not ahead_s:
        return 0.0
    if not crew:
        return math.inf
    elapsed_s = ahead_s / sum(crew.values())
    for _, stage in groupby(pending, key=lambda entry: (entry[0].model, entry[0].stage)):
        times = [(_by_device(shape, predictor, crew, guess_s), count) for shape, count in stage]
        times.sort(key=lambda entry: -min(one.mean_s for one in entry[0].values()))
        elapsed_s += _span_s(times, crew) + _tail_s(times, crew)
    return elapsed_s


def _by_device(
    shape: Shape, predictor: Predictor, devices: Iterable[str], guess_s: float
) -> dict[str, Estimate]:
    found = {}
    for device in devices:
        mean_s, sigma = predictor.predict(replace(shape, device=device), guess_s=guess_s)
        found[device] = Estimate(max(_SHORTEST_S, mean_s), sigma)
    return found


def _span_s(times: _Times, crew: Mapping[str, int]) -> float:
    """Seconds until independent units are done, the longest first, each where it ends soonest.

    Workers pull, and what a slow one holds at the end is run again by one that idles: that
    comes to about the same as not giving it to the slow one.
    """
    free = {device: [0.0] * count for device, count in crew.items()}
    end_s = 0.0
    for estimates, count in times:
        flowing = max(0, count - _EXACT_ROUNDS * sum(crew.values()))
        _delay(free, flowing / sum(crew[device] / estimates[device].mean_s for device in crew))
        for _ in range(count - flowing):
            device = min(free, key=lambda name: free[name][0] + estimates[name].mean_s)
            done_s = free[device][0] + estimates[device].mean_s
            end_s = max(end_s, done_s)
            heapreplace(free[device], done_s)
    return end_s


def _tail_s(times: _Times, crew: Mapping[str, int]) -> float:
    """What the last of the last units takes above the mean: all others wait for it.

    The largest of that many normal variates (Blom 1958); beyond a mean it is run again.
    """
    estimates, count = times[-1]
    together = min(count, sum(crew.values()))
    deviations = NormalDist().inv_cdf((together - 0.375) / (together + 0.25))
    return max(min(deviations * sigma, mean_s) for mean_s, sigma in estimates.values())


def _delay(free: dict[str, list[float]], seconds: float) -> None:
    for times in free.values():
        times[:] = [time + seconds for time in times]
        heapify(times)


def _is_sane(shape: Shape) -> bool:
    return _SMALLEST <= shape.area <= _LARGEST


def _clipped(area: float) -> float:
    """An area that has a logarithm; NaN counts as the smallest."""
    return min(max(_SMALLEST, area), _LARGEST)


def _parse(row: object) -> tuple[Shape, _Seen] | None:
    match row:
        case [
            str(model), str(stage), int() | float() as area, str(device),
            int() | float() as log_mean, int() | float() as log_variance, int(count),
        ]:  # fmt: skip
            shape, seen = Shape(model, stage, area, device), _Seen(log_mean, log_variance, count)
            is_sane = _is_sane(shape) and abs(log_mean) < 50 and 0 <= log_variance < 2500
            return (shape, seen) if is_sane and count > 0 else None
    return None
