"""How long units of work take, learned from those that were done."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from dataclasses import astuple, dataclass
from typing import NamedTuple

DEFAULT_S = 1.0
"""Seconds of a unit when nothing like it was ever seen."""

_RECORD_VERSION = 1
_GAIN = 1 / 32
"""Weight of a new duration, once 32 were seen; half of what is known is then 22 units old."""
_GUESSED_SPREAD = 0.5
"""Standard deviation over mean of a guess."""
SHORTEST_S, _LONGEST_S = 1e-6, 1e9
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
        distance = math.log(max(seconds, SHORTEST_S)) - self.log_mean
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
