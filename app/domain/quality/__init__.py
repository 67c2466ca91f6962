"""What is wrong with a picture made of tiles, measured from its pixels and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.geometry import Box
from app.domain.quality.dip import variance_dip
from app.domain.quality.gates import GATES, misses, worst
from app.domain.quality.lines import SeamAxis, SeamGrid, seam_axis
from app.domain.quality.profiles import CELL, SEGMENT, Colours, Profiler, Profiles
from app.domain.quality.seams import SeamScores, seam_scores
from app.domain.quality.start import low_frequency_drift, repetition

__all__ = [
    "CELL",
    "GATES",
    "SEGMENT",
    "Colours",
    "Profiler",
    "Profiles",
    "Quality",
    "SeamAxis",
    "SeamGrid",
    "SeamScores",
    "measure",
    "misses",
    "seam_axis",
    "worst",
]


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one picture, by name, and what its seams look like one by one."""

    figures: dict[str, float]
    seams: SeamScores


def measure(
    profiles: Profiles,
    grid: SeamGrid,
    *,
    tiles: Sequence[Box] = (),
    start: Colours | None = None,
    upscale: int = 1,
) -> Quality:
    """Every figure that is defined: one tile has no seams, a picture without *start* no drift.

    *tiles* are in pixels; *start*, the picture a render started from, is ``(H // 8, W // 8, 3)``
    in ``[0, 1]``, as ``Profiles.cells``; the picture is *upscale* times larger than the canvas.
    """
    seams = seam_scores(profiles, grid)
    found = {"seam_z": seams.worst, "variance_dip": variance_dip(profiles, grid)}
    if start is not None:
        found["low_frequency_drift"] = low_frequency_drift(profiles.cells, start, upscale=upscale)
        found["repetition"] = repetition(profiles.cells, start, tiles)
    figures = {name: round(value, 6) for name, value in found.items() if value is not None}
    return Quality(figures, seams)
