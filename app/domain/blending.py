"""Merging overlapping tiles into one canvas, the same for every order of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import RenderFailedError
from app.domain.geometry import Box


class Accumulator:
    """Weighted mean of tiles inside one box of the canvas, summed in float64.

    Add tiles in index order: float64 sums of float32 tiles then agree to the last bit
    whatever order they were rendered in.
    """

    def __init__(self, channels: int, box: Box) -> None:
        self._box = box
        self._sum = np.zeros((channels, box.height, box.width), np.float64)
        self._square = np.zeros_like(self._sum)
        self._weight = np.zeros((box.height, box.width), np.float64)
        self._covers = np.zeros((box.height, box.width), np.uint16)

    def add(self, tile: NDArray[np.float32], box: Box, weight: NDArray[np.float64]) -> None:
        """Add the part of *tile* ``(C, h, w)`` at *box* that lies inside, *weight* ``(h, w)``.

        Raises ``RenderFailedError`` when the tile holds NaN or infinity: one such value would
        otherwise spread over every neighbour.
        """
        if not np.isfinite(tile).all():
            raise RenderFailedError(f"tile at row {box.top}, column {box.left} is not finite")
        shared = box.intersection(self._box)
        if shared is None:
            return
        here = shared.relative_to(self._box).window
        there = shared.relative_to(box).window
        part, share = tile[(slice(None), *there)].astype(np.float64), weight[there]
        self._sum[(slice(None), *here)] += part * share
        self._square[(slice(None), *here)] += part**2 * share
        self._weight[here] += share
        self._covers[here] += share > 0

    def result(self) -> NDArray[np.float32]:
        """The merged box, ``(C, H, W)``. Raises ``RenderFailedError`` on an uncovered pixel."""
        if (self._weight <= 0).any():
            raise RenderFailedError("the canvas has pixels that no tile covers")
        return (self._sum / self._weight).astype(np.float32)

    def spread(self) -> Spread:
        """How far the tiles added so far are apart."""
        mean = self._sum / self._weight
        variance = np.maximum(self._square / self._weight - mean**2, 0.0)
        shared = variance[:, self._covers > 1]
        return Spread(
            shared_variance=float(shared.sum()),
            shared_count=shared.size,
            total=float(mean.sum()),
            total_square=float((mean**2).sum()),
            count=mean.size,
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """Sums that tell how far overlapping tiles are apart; those of parts of a canvas add up."""

    shared_variance: float = 0.0
    shared_count: int = 0
    total: float = 0.0
    total_square: float = 0.0
    count: int = 0

    def __add__(self, other: Spread) -> Spread:
        return Spread(
            self.shared_variance + other.shared_variance,
            self.shared_count + other.shared_count,
            self.total + other.total,
            self.total_square + other.total_square,
            self.count + other.count,
        )

    def disagreement(self) -> float:
        """RMS deviation of overlapping tiles from their mean, in standard deviations of the
        canvas; 0 when all agree or nothing overlaps.
        """
        if not self.shared_count:
            return 0.0
        variance = self.total_square / self.count - (self.total / self.count) ** 2
        return float(np.sqrt(self.shared_variance / self.shared_count / max(variance, 1e-12)))


class BlendWeights:
    """Weights of the tiles of one grid.

    Separable: zero on the outer *margin* of an overlap (where a convolution sees the tile's
    own edge), a cosine ramp over the rest of it, one inside and at the canvas border.
    No Gaussian: its corners underflow in half precision and turn into 0/0.
    """

    def __init__(self, boxes: Sequence[Box], *, margin: int) -> None:
        self._rows = sorted({(box.top, box.bottom) for box in boxes})
        self._columns = sorted({(box.left, box.right) for box in boxes})
        self._margin = margin

    def of(self, box: Box) -> NDArray[np.float64]:
        """Weight of the tile at *box*, ``(h, w)`` in ``[0, 1]``."""
        rows = _axis_weight(box.top, box.bottom, self._rows, self._margin)
        columns = _axis_weight(box.left, box.right, self._columns, self._margin)
        return np.outer(rows, columns)


def _axis_weight(
    start: int, end: int, spans: Sequence[tuple[int, int]], margin: int
) -> NDArray[np.float64]:
    index = spans.index((start, end))
    weight = np.ones(end - start, np.float64)
    if index > 0:
        ramp = _ramp(spans[index - 1][1] - start, margin)
        weight[: ramp.size] *= ramp
    if index + 1 < len(spans):
        ramp = _ramp(end - spans[index + 1][0], margin)
        weight[weight.size - ramp.size :] *= ramp[::-1]
    return weight


def _ramp(overlap: int, margin: int) -> NDArray[np.float64]:
    """Rising weights over one overlap; a ramp and its mirror image sum to one."""
    if overlap <= 0:
        return np.ones(0, np.float64)
    margin = min(margin, (overlap - 1) // 2)  # both ramps must not be zero at the same pixel
    position = (np.arange(overlap) + 0.5 - margin) / (overlap - 2 * margin)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0.0, 1.0))
