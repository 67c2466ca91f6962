"""Where the score of a line lies among those of all other lines of the same picture."""

import math
from dataclasses import dataclass

import numpy as np

from app.domain.quality import Profiler, SeamAxis, SeamGrid, seam_scores
from app.domain.quality.profiles import segment_count
from app.domain.quality.seams import SCALES, SOUND_SEGMENTS

REACH = 2 * SCALES[-1]
"""Pixels from a line within which its own step is seen: none there is another line."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a line stands out; with a row and a column, how both together do."""

    score: float
    """``seam_z``, as its gate sees it."""
    raw: float
    """The same without the sound segments that are counted besides."""
    rank: float
    """Share of the other lines that stand out less; where nothing met it is as often above a half
    as below."""
    usual: float
    """Median ``seam_z`` of the other lines."""


def standing(pixels, raster, *, row=None, column=None):
    """That of the lines before *row* and *column* of ``(H, W, 3)`` pixels, 8 bit.

    The other lines are those on the same *raster*, every row together with the column as far from
    *column* as it is from *row*.
    """
    height, width = pixels.shape[:2]
    profiler = Profiler(height, width)
    profiler.add(pixels)
    profiles, sides = profiler.result(), ((height, row), (width, column))

    def score(shift):
        axes = (
            SeamAxis(length, joints=() if line is None else (line + shift,), raster=raster)
            for length, line in sides
        )
        return seam_scores(profiles, SeamGrid(*axes)).worst

    others = np.array([score(shift) for shift in _shifts(sides, raster)])
    across = [segment_count(width)] * (row is not None)
    along = [segment_count(height)] * (column is not None)
    found = score(0)
    return Standing(
        score=found,
        raw=raw_score(found, sum(across + along)),
        rank=float((others < found).mean()),
        usual=float(np.median(others)),
    )


def raw_score(score, segments):
    """The root mean square of z over *segments* alone, of a *score* that counts sound ones too."""
    return math.sqrt(((segments + SOUND_SEGMENTS) * score**2 - SOUND_SEGMENTS) / segments)


def _shifts(sides, raster):
    """How far lines can be moved, in pixels, and stay inside the picture and off where they are."""
    placed = [(length, line) for length, line in sides if line is not None]
    first = max(REACH - line for _, line in placed)
    last = min(length - REACH - line for length, line in placed)
    return [
        shift
        for shift in range(-(-first // raster) * raster, last + 1, raster)
        if abs(shift) >= REACH
    ]
