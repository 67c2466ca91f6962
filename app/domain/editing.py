"""A part of a picture painted anew: its area, and the tiles and cores it takes.

Everything else stays as it is, to the last bit. A latent is free when the area touches one of its
pixels; other latents are held at the picture's own. Painted pixels fade into the picture inside
the area, so that nothing outside of it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import InvalidRequestError
from app.domain.geometry import Box, parts
from app.domain.grid import Grid
from app.domain.plan import Decode, Phase, RenderPlan
from app.domain.spec import RenderSpec
from app.domain.tiling import axis_edges

Mask = NDArray[np.uint8]
"""``(H, W)``: 255 is painted anew, 0 stays."""
Pixels = NDArray[np.uint8 | np.uint16]

_ROWS = 64  # latents at a time: 8 MB of mask for a picture 16384 px wide


@dataclass(frozen=True, slots=True)
class Area:
    """Where a picture is painted anew: *mask* stretched over *box*, in pixels of *spec*."""

    spec: RenderSpec
    mask: Mask
    box: Box

    def inside(self, box: Box) -> Mask:
        """The area inside *box*, which may leave the picture.

        Beyond a border the picture goes on as it ends there, or as it begins where it wraps.
        """
        spec = self.spec
        row = _pixels(box.top, box.bottom, spec.height, wraps=spec.wrap.rows)
        column = _pixels(box.left, box.right, spec.width, wraps=spec.wrap.columns)
        row, is_row = _samples(row - self.box.top, self.box.height, self.mask.shape[0])
        column, is_column = _samples(column - self.box.left, self.box.width, self.mask.shape[1])
        sampled = self.mask[np.ix_(row, column)]
        return np.where(np.outer(is_row, is_column), sampled, np.uint8(0))

    def free(self, box: Box, latent: int) -> NDArray[np.bool_]:
        """Which latents of *box* it touches, ``(h, w)``; one latent is *latent* pixels wide."""
        blocks = self.inside(box.scaled(latent))
        return np.asarray(
            blocks.reshape(box.height, latent, box.width, latent).max(axis=(1, 3)) > 0
        )

    def opacity(self, box: Box, fade: int) -> NDArray[np.uint8]:
        """How far painted pixels replace the picture's inside *box*, ``(h, w)`` in 0 … 255.

        It rises over the first *fade* pixels inside the area and is zero outside of it.
        """
        margin = fade - 1
        around = Box(box.top - margin, box.left - margin, box.bottom + margin, box.right + margin)
        eroded, total = self.inside(around), np.zeros((box.height, box.width))
        for edge in range(margin, -1, -1):
            total += eroded[edge : edge + box.height, edge : edge + box.width]
            eroded = _eroded(eroded)
        return np.asarray(np.round(total / fade), np.uint8)


def with_edit(
    phases: tuple[Phase, ...], decode: Decode, area: Area, *, canvas: Box, latent: int
) -> tuple[tuple[Phase, ...], Decode]:
    """*phases* and *decode* reduced to what *area* takes; one latent is *latent* pixels wide.

    Raises ``InvalidRequestError`` when it takes nothing.
    """
    edges = axis_edges(canvas.height, _ROWS)
    bands = (Box(top, 0, bottom, canvas.width) for top, bottom in pairwise(edges))
    free = np.concatenate([area.free(band, latent) for band in bands])
    if not free.any():
        raise InvalidRequestError("mask must have a white part to paint anew, it is all black")
    picture = Box(0, 0, area.spec.height, area.spec.width)
    painted = tuple(
        index
        for index, core in enumerate(decode.cores)
        if area.inside(core.scaled(latent).padded(0, within=picture)).any()
    )
    reduced = tuple(
        replace(phase, only=tuple(affected_tiles(phase.grid, free))) for phase in phases
    )
    return reduced, replace(decode, painted=painted)


def affected_tiles(grid: Grid, free: NDArray[np.bool_]) -> Iterator[int]:
    """The tiles whose own cells hold a *free* latent ``(H, W)``.

    The neighbours of such a tile overlap it too. They are left out: around its cell it sees half
    an overlap of what is held, and is as good alone.
    """
    canvas = Box(0, 0, *free.shape)
    for index, cell in enumerate(grid.cells):
        if any(free[part.on_canvas.window].any() for part in parts(cell, canvas)):
            yield index


def tile_box(plan: RenderPlan, row: int, column: int) -> Box:
    """The cell of a tile of the last phase, in pixels of the picture.

    Raises ``InvalidRequestError`` when the grid has no such tile.
    """
    grid = plan.phases[-1].grid
    rows, columns = len(grid.rows.spans), len(grid.columns.spans)
    if not (0 <= row < rows and 0 <= column < columns):
        raise InvalidRequestError(
            f"tile must be a row below {rows} and a column below {columns}, got {row},{column}"
        )
    cell = grid.cells[row * columns + column]
    return cell.scaled(plan.latent_scale * plan.spec.upscale).padded(0, within=plan.picture)


def composite(ground: Pixels, painted: NDArray[np.float32], opacity: NDArray[np.uint8]) -> Pixels:
    """*painted* ``(H, W, 3)`` in ``[0, 1]`` over *ground*, which stays where *opacity* is zero.

    *ground* and result are uint8 or uint16.
    """
    share = (opacity / np.float32(255.0))[..., None]
    # Neither end is touched by rounding: the difference of the two would be.
    peak = np.float32(np.iinfo(ground.dtype).max)
    mixed = ground * (1 - share) + painted * peak * share
    return np.round(mixed).astype(ground.dtype)


def _pixels(first: int, last: int, length: int, *, wraps: bool) -> NDArray[np.int_]:
    positions = np.arange(first, last)
    return positions % length if wraps else np.clip(positions, 0, length - 1)


def _samples(
    offsets: NDArray[np.int_], length: int, size: int
) -> tuple[NDArray[np.int_], NDArray[np.bool_]]:
    """The nearest of *size* samples stretched over *length* pixels, and which offsets have one."""
    nearest = (2 * offsets + 1) * size // (2 * length)
    return np.clip(nearest, 0, size - 1), (offsets >= 0) & (offsets < length)


def _eroded(mask: Mask) -> Mask:
    """The least of every 3 x 3 neighbourhood, ``(H - 2, W - 2)``."""
    rows = np.minimum(np.minimum(mask[:-2], mask[1:-1]), mask[2:])
    return np.asarray(np.minimum(np.minimum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]))
