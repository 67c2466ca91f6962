"""Where tiles and cores lie; one 1-D rule, used for rows and for columns.

*Tiles* overlap and are blended (denoising). *Cores* partition the canvas exactly once and are
pasted (decoding and super-resolution, which are exact when padded).
"""

from __future__ import annotations

from itertools import pairwise

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.grid import Axis


def plan_axis(length: int, tile: int, overlap: int, *, alignment: int = 1, wraps: bool) -> Axis:
    """Equal tiles along one axis; neighbours share at least *overlap*.

    The surplus is spread evenly, so that no seam is thinner than asked and the last tile does
    not jump back. An axis that wraps and fits into one tile is one span: the denoiser closes it.
    """
    tile = min(tile, length)
    starts = axis_starts(length, tile, overlap, alignment=alignment, wraps=wraps)
    return Axis(length, tuple((start, start + tile) for start in starts), wraps=wraps)


def plan_windows(length: int, tile: int, offset: int, *, alignment: int = 1, wraps: bool) -> Axis:
    """Windows that do not overlap, their borders shifted by *offset*; each latent is kept once.

    A window cut short by the canvas border is moved inward and keeps only what is its own, so
    that every window has the full size and the two ends of the canvas do not mix.
    """
    tile, offset = min(tile, length), offset // alignment * alignment
    if tile == length:
        return Axis(length, ((0, length),), ((0, length),), wraps)
    edges = _shifted_edges(length, tile, offset, alignment, wraps)
    kept = tuple(pairwise(edges))
    spans = tuple(_grown(first, last, tile, length, alignment, wraps) for first, last in kept)
    return Axis(length, spans, kept, wraps)


def plan_cores(height: int, width: int, *, core: int) -> list[Box]:
    """Cut a canvas into boxes of at most *core* per side, near equal, in row-major order."""
    rows, columns = (list(pairwise(axis_edges(length, core))) for length in (height, width))
    return [Box(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def axis_starts(
    length: int, tile: int, overlap: int, *, alignment: int = 1, wraps: bool = False
) -> list[int]:
    """First coordinates of the fewest tiles that cover ``[0, length)`` with *overlap*.

    All are multiples of *alignment* if *length* and *tile* are.
    """
    if length <= tile:
        return [0]
    if not 0 <= overlap <= tile - alignment:
        raise InvalidPlanError(f"overlap must be in [0, {tile}), got {overlap}")
    stride = (tile - overlap) // alignment * alignment
    travel = length if wraps else length - tile
    gaps = -(-travel // stride)  # ceil: strides from the first tile to the last
    count = gaps if wraps else gaps + 1
    return [step * (travel // alignment) // gaps * alignment for step in range(count)]


def axis_edges(length: int, core: int) -> list[int]:
    """Edges, first 0 and last *length*, of the fewest near equal parts of at most *core*."""
    parts = -(-length // core)
    return [part * length // parts for part in range(parts + 1)]


def _shifted_edges(length: int, tile: int, offset: int, alignment: int, wraps: bool) -> list[int]:
    if wraps:
        parts = -(-length // tile)
        steps = length // alignment
        return [offset + part * steps // parts * alignment for part in range(parts + 1)]
    inner = range(offset % tile or tile, length, tile)
    return [0, *inner, length]


def _grown(
    first: int, last: int, tile: int, length: int, alignment: int, wraps: bool
) -> tuple[int, int]:
    """A span of *tile* around ``[first, last)``, inside the axis unless it wraps."""
    start = first - (tile - (last - first)) // 2 // alignment * alignment
    if not wraps:
        start = min(max(start, 0), length - tile)
    return start, start + tile
