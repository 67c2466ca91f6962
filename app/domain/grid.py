"""One grid of tiles: where they lie on both axes, and how they share the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.domain.geometry import Box

Span = tuple[int, int]
"""Half-open interval of one axis; on an axis that wraps it may reach past the end."""


class Blend(StrEnum):
    """How the tiles of a grid share what they overlap."""

    RAMP = "ramp"
    """A cosine ramp across every overlap."""
    UNIFORM = "uniform"
    """The plain mean, as in MultiDiffusion (Bar-Tal et al. 2023)."""
    PASTE = "paste"
    """Every latent from the one tile that keeps it, as in SpotDiffusion (Frolov et al. 2024)."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Equal spans that cover one axis of the canvas, in order."""

    length: int
    spans: tuple[Span, ...]
    kept: tuple[Span, ...] = ()
    """For pasting: the part of each span that is kept; together they cover the axis once."""
    wraps: bool = False

    @property
    def cells(self) -> tuple[Span, ...]:
        """Each span up to the middle of what it shares; together they cover the axis once."""
        if self.kept or len(self.spans) == 1:
            return self.kept or self.spans
        edges = [
            (start + self._end_before(index)) // 2 for index, (start, _) in enumerate(self.spans)
        ]
        return tuple(pairwise([*edges, edges[0] + self.length]))

    def weight(self, index: int, blend: Blend, margin: int) -> NDArray[np.float64]:
        """Weight of span *index* along itself, in ``[0, 1]``.

        A ramp is zero on the outer *margin* of an overlap, where a convolution sees the tile's
        own edge. No Gaussian: its corners underflow in half precision and turn into 0/0.
        """
        start, end = self.spans[index]
        if blend is Blend.PASTE:
            first, last = self.kept[index]
            position = np.arange(start, end)
            return ((position >= first) & (position < last)).astype(np.float64)
        weight = np.ones(end - start, np.float64)
        if blend is Blend.RAMP:
            rising = _ramp(self._end_before(index) - start, margin)
            falling = _ramp(end - self._start_after(index), margin)
            weight[: rising.size] *= rising
            weight[weight.size - falling.size :] *= falling[::-1]
        return weight

    def _end_before(self, index: int) -> int:
        if index > 0:
            return self.spans[index - 1][1]
        return self.spans[-1][1] - self.length if self.wraps else 0

    def _start_after(self, index: int) -> int:
        if index + 1 < len(self.spans):
            return self.spans[index + 1][0]
        return self.spans[0][0] + self.length if self.wraps else self.length


@dataclass(frozen=True, slots=True)
class Grid:
    """Every span of the rows crossed with every span of the columns; lengths in latents."""

    rows: Axis
    columns: Axis
    blend: Blend = Blend.RAMP
    margin: int = 0

    def __len__(self) -> int:
        return len(self.rows.spans) * len(self.columns.spans)

    @property
    def tiles(self) -> tuple[Box, ...]:
        """The tiles in row-major order; on an axis that wraps one may reach past the end."""
        return tuple(
            Box(top, left, bottom, right)
            for top, bottom in self.rows.spans
            for left, right in self.columns.spans
        )

    def tile(self, index: int) -> Box:
        """Tile *index* alone: making all of them takes long where each is looked at."""
        row, column = divmod(index, len(self.columns.spans))
        (top, bottom), (left, right) = self.rows.spans[row], self.columns.spans[column]
        return Box(top, left, bottom, right)

    @property
    def cells(self) -> tuple[Box, ...]:
        """The part of each tile that is nobody else's, in the order of the tiles; a partition."""
        return tuple(
            Box(top, left, bottom, right)
            for top, bottom in self.rows.cells
            for left, right in self.columns.cells
        )

    def weight(self, index: int) -> NDArray[np.float64]:
        """Weight of tile *index*, ``(h, w)`` in ``[0, 1]``; separable."""
        row, column = divmod(index, len(self.columns.spans))
        return np.outer(
            self.rows.weight(row, self.blend, self.margin),
            self.columns.weight(column, self.blend, self.margin),
        )


def _ramp(overlap: int, margin: int) -> NDArray[np.float64]:
    """Rising weights over one overlap; a ramp and its mirror image sum to one."""
    if overlap <= 0:
        return np.ones(0, np.float64)
    margin = min(margin, (overlap - 1) // 2)  # both ramps must not be zero at the same pixel
    position = (np.arange(overlap) + 0.5 - margin) / (overlap - 2 * margin)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0.0, 1.0))
