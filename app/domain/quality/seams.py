"""The signed multi-scale seam score: how a picture steps at its seams, and how elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from app.domain.quality.lines import SeamAxis, SeamGrid
from app.domain.quality.profiles import Floats, Profiles

SCALES = (1, 2, 4, 8, 16)
"""Widths in pixels of the means on both sides of a line: 1 finds a hard edge, 16 one that the
decoder has smoothed."""
_REACH = 2 * SCALES[-1]
MIN_SAMPLES = 100
"""Fewer places off the seams do not tell what is usual: such a scale is left out."""
SOUND_SEGMENTS = 8
"""Counted to those of every kind: one line of a small picture has four segments, whose root mean
square at one scale is above 1.5 by chance in one of 16 pictures, with these in one of 1270. To
reach 1.5 with them, four segments must have 2.18, 64 must have 1.55."""
_MAX_SAMPLES = 1 << 17  # z ends at 4.5 then, which is far beyond any gate

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeamScores:
    """How the seams of a picture stand out; 1 is what any other line has."""

    worst: float | None
    """The largest score of any scale and kind of line; ``None`` where nothing can be told."""
    rows: Scores
    """``(lines, segments)`` of the horizontal lines: the largest |z| of all scales, or NaN."""
    columns: Scores
    """The same of the vertical lines."""


class Stairs:
    """How a picture steps along one axis, at any place and scale."""

    def __init__(self, luma: Floats, *, wraps: bool) -> None:
        self._length, self._wraps = luma.shape[1], wraps
        sides = ((0, 0), (_REACH + 1, _REACH))
        self._sums = np.pad(luma, sides, "wrap" if wraps else "edge").astype(np.float64)
        self._sums[:, 0] = 0.0
        np.cumsum(self._sums, axis=1, out=self._sums)

    def steps(self, positions: NDArray[np.int64], scale: int) -> Scores:
        """How far the picture steps at *positions* beyond its own slope there, ``(P, S)``.

        With means m of *scale* pixels, two before and two behind the position:
        ``(m1 - m0) - ((m0 - m-1) + (m2 - m1)) / 2``, signed. NaN where a mean would leave the
        picture.
        """
        ends = [self._sums[:, _REACH + positions + part * scale] for part in range(-2, 3)]
        before, m0, m1, behind = ((end - start) / scale for start, end in pairwise(ends))
        found = (m1 - m0) - 0.5 * ((m0 - before) + (behind - m1))
        if not self._wraps:
            reach = 2 * scale
            found[:, (positions < reach) | (positions > self._length - reach)] = np.nan
        return np.asarray(found.T)


def seam_scores(profiles: Profiles, grid: SeamGrid) -> SeamScores:
    """The root mean square of z over the segments of all lines of a kind, at every scale.

    Eight sound segments are counted besides: a single short line proves little.

    z is the step of a segment as a normal score (van der Waerden 1952) among the steps at places
    that are no seams. On Gaussian texture that is the step over their deviation; photographs have
    flat and rough parts, where any line would be 4 to 10 deviations.
    """
    axes, lumas = (grid.rows, grid.columns), (profiles.rows.luma, profiles.columns.luma)
    found = [_axis_scores(luma, axis) for luma, axis in zip(lumas, axes, strict=True)]
    scores: list[float] = []
    for kind in ([axis.joints for axis in axes], [axis.cuts for axis in axes]):
        chosen = [
            z[:, np.isin(axis.lines, lines)].reshape(len(SCALES), -1)
            for z, axis, lines in zip(found, axes, kind, strict=True)
        ]
        for z in np.concatenate(chosen, axis=1):
            squares = z[np.isfinite(z)] ** 2
            if squares.size:
                total = float(squares.sum()) + SOUND_SEGMENTS
                scores.append(math.sqrt(total / (squares.size + SOUND_SEGMENTS)))
    rows, columns = (np.fmax.reduce(np.abs(z)) for z in found)
    return SeamScores(max(scores, default=None), rows, columns)


def _axis_scores(luma: Floats, axis: SeamAxis) -> Scores:
    """z of every scale, line and segment."""
    stairs = Stairs(luma, wraps=axis.wraps)
    return np.stack([_line_scores(stairs, axis, scale) for scale in SCALES])


def _line_scores(stairs: Stairs, axis: SeamAxis, scale: int) -> Scores:
    """z of every line and segment, ``(L, S)``; NaN where it cannot be told."""
    at_lines = stairs.steps(np.array(axis.lines, np.int64), scale)
    places = _places_between(axis, 2 * scale)
    places = places[:: 1 + len(places) * at_lines.shape[1] // _MAX_SAMPLES]
    usual = np.sort(np.abs(stairs.steps(places, scale)), axis=None)
    usual = usual[np.isfinite(usual)]
    if len(usual) < MIN_SAMPLES:
        return np.full(at_lines.shape, np.nan)
    share = (np.searchsorted(usual, np.abs(at_lines)) + 0.5) / (len(usual) + 1)
    normal = NormalDist()
    z = np.array([normal.inv_cdf(0.5 + part / 2) for part in share.flat]).reshape(share.shape)
    return np.where(np.isfinite(at_lines), np.copysign(z, at_lines), np.nan)


def _places_between(axis: SeamAxis, distance: int) -> NDArray[np.int64]:
    """Positions on the raster that are no line's, nor closer than *distance* to one."""
    is_free = np.zeros(axis.length, np.bool_)
    is_free[:: axis.raster] = True
    for line in axis.lines:
        # Modulo as if it wrapped: at a border that does not, nothing is measured so close to it.
        is_free[np.arange(line - distance + 1, line + distance) % axis.length] = False
    return np.flatnonzero(is_free)
