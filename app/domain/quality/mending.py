"""Parts of a picture to paint anew where its seams show, and tiles that do not meet there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.domain.geometry import Box, parts
from app.domain.grid import Axis
from app.domain.plan import RenderPlan
from app.domain.quality.gates import MAX_SEAM_Z
from app.domain.quality.lines import SeamAxis
from app.domain.quality.planned import seams_of
from app.domain.quality.profiles import SEGMENT
from app.domain.quality.seams import Scores, SeamScores
from app.domain.tiling import plan_axis

STANDS_OUT = 2.5
"""|z| from which a piece of a seam is painted anew: the heat map's yellow."""
MOST_MENDS = 16
"""Each is a job of its own; a picture with more bad seams is better rendered again."""
_LEAST_HALF = 8  # latents on either side of a seam: what tiles without an overlap need


@dataclass(frozen=True, slots=True)
class Mend:
    """A part that is painted anew."""

    z: float
    """How far its seam stands out."""
    box: Box
    """In pixels of the picture."""
    overlap: int
    """Of the tiles that paint it, in pixels: their own seams lie far from this one."""


def mends(plan: RenderPlan, seams: SeamScores) -> tuple[Mend, ...]:
    """What to paint anew of a picture of *plan* with *seams*, the worst first.

    Empty when its seams pass their gate, or show between cores alone.
    """
    if seams.worst is None or seams.worst <= MAX_SEAM_Z:
        return ()
    lines, grid = seams_of(plan), plan.phases[-1].grid
    found = [
        Mend(z, part, _overlap_apart(plan, axis, line))
        for own, other, axis, scores, is_row in (
            (lines.rows, lines.columns, grid.rows, seams.rows, True),
            (lines.columns, lines.rows, grid.columns, seams.columns, False),
        )
        for line, first, last, z in _pieces(own, scores, other.length)
        for part in _around(plan, line, first, last, is_row=is_row)
    ]
    return tuple(sorted(found, key=lambda mend: -mend.z)[:MOST_MENDS])


def _pieces(axis: SeamAxis, scores: Scores, across: int) -> Iterator[tuple[int, int, int, float]]:
    """Line, first and last pixel along it, and z, of every run of segments that stands out."""
    for line, row in zip(axis.lines, scores, strict=True):
        if line not in axis.joints:
            continue
        edges = [*(SEGMENT * index for index in range(len(row))), across]
        stands_out = np.nan_to_num(row) >= STANDS_OUT
        padded = np.concatenate([[False], stands_out, [False]])
        starts, ends = (
            np.flatnonzero(padded[1:] & ~padded[:-1]),
            np.flatnonzero(~padded[1:] & padded[:-1]),
        )
        for start, end in zip(starts, ends, strict=True):
            yield line, edges[start], edges[end], float(np.nanmax(row[start:end]))


def _around(plan: RenderPlan, line: int, first: int, last: int, *, is_row: bool) -> Iterator[Box]:
    """The band around a piece of a line; two where it lies across the end of the picture."""
    latent = plan.latent_scale * plan.spec.upscale
    half = max(plan.spec.overlap * plan.spec.upscale // 2, _LEAST_HALF * latent)
    band = Box(line - half, first, line + half, last)
    if not is_row:
        band = Box(first, line - half, last, line + half)
    picture = plan.picture
    if not (plan.spec.wrap.rows if is_row else plan.spec.wrap.columns):
        band = band.padded(0, within=picture)
    return (part.on_canvas for part in parts(band, picture))


def _overlap_apart(plan: RenderPlan, axis: Axis, line: int) -> int:
    """The overlap, no smaller than the plan's own, whose seams are farthest from *line*."""
    scale = plan.latent_scale
    at = line // (scale * plan.spec.upscale)
    tile, overlap = plan.spec.tile // scale, plan.spec.overlap // scale

    def distance(candidate: int) -> int:
        cells = plan_axis(axis.length, tile, candidate, wraps=axis.wraps).cells
        seams = [first for first, _ in cells] if axis.wraps else [first for first, _ in cells[1:]]
        gaps = (abs(seam - at) % axis.length for seam in seams)
        return min((min(gap, axis.length - gap) for gap in gaps), default=axis.length)

    # In steps of two: models whose patches are two latents take no other.
    return scale * max(range(overlap, max(overlap, tile // 2) + 1, 2), key=distance)
