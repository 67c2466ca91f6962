"""Where tiles and cores lie; one 1-D rule, used for rows and for columns.

*Tiles* overlap and are blended (denoising). *Cores* partition the canvas exactly once and are
pasted (decoding and super-resolution, which are exact when padded).
"""

from __future__ import annotations

from itertools import pairwise

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box


def plan_tiles(
    height: int, width: int, *, tile_height: int, tile_width: int, overlap: int
) -> list[Box]:
    """Cover a canvas with equal tiles, in row-major order.

    Neighbours share at least *overlap*; the surplus is spread evenly, so that no seam is
    thinner than asked and the last tile does not jump back.
    """
    return [
        Box(top, left, top + tile_height, left + tile_width)
        for top in axis_starts(height, tile_height, overlap)
        for left in axis_starts(width, tile_width, overlap)
    ]


def plan_cores(height: int, width: int, *, core: int) -> list[Box]:
    """Cut a canvas into boxes of at most *core* per side, near equal, in row-major order."""
    rows, columns = (list(pairwise(axis_edges(length, core))) for length in (height, width))
    return [Box(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def axis_starts(length: int, tile: int, overlap: int) -> list[int]:
    """First coordinates of the fewest tiles that cover ``[0, length)`` with *overlap*."""
    if length <= tile:
        return [0]
    if not 0 <= overlap < tile:
        raise InvalidPlanError(f"overlap must be in [0, {tile}), got {overlap}")
    gaps = -(-(length - tile) // (tile - overlap))  # ceil: strides from the first tile to the last
    return [step * (length - tile) // gaps for step in range(gaps + 1)]


def axis_edges(length: int, core: int) -> list[int]:
    """Edges, first 0 and last *length*, of the fewest near equal parts of at most *core*."""
    parts = -(-length // core)
    return [part * length // parts for part in range(parts + 1)]
