"""Merging overlapping tiles into one canvas, the same for every order of arrival."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import RenderFailedError
from app.domain.geometry import Box


class Accumulator:
    """Weighted mean of tiles on one canvas, summed in float64.

    Add tiles in index order: float64 sums of float32 tiles then agree to the last bit
    whatever order they were rendered in.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._sum = np.zeros((channels, height, width), np.float64)
        self._square = np.zeros((channels, height, width), np.float64)
        self._weight = np.zeros((height, width), np.float64)
        self._covers = np.zeros((height, width), np.uint16)

    def add(self, tile: NDArray[np.float32], box: Box, weight: NDArray[np.float64]) -> None:
        """Add *tile* ``(C, h, w)`` at *box* with *weight* ``(h, w)``.

        Raises ``RenderFailedError`` when the tile holds NaN or infinity: one such value would
        otherwise spread over every neighbour.
        """
        if not np.isfinite(tile).all():
            raise RenderFailedError(f"tile at row {box.top}, column {box.left} is not finite")
        rows, columns = box.window
        self._sum[:, rows, columns] += tile * weight
        self._square[:, rows, columns] += np.square(tile, dtype=np.float64) * weight
        self._weight[rows, columns] += weight
        self._covers[rows, columns] += weight > 0

    def result(self) -> NDArray[np.float32]:
        """The merged canvas, ``(C, H, W)``. Raises ``RenderFailedError`` on an uncovered pixel."""
        if (self._weight <= 0).any():
            raise RenderFailedError("the canvas has pixels that no tile covers")
        return (self._sum / self._weight).astype(np.float32)

    def disagreement(self) -> float:
        """RMS deviation of overlapping tiles from their mean, in standard deviations of the
        canvas; 0 when all agree or nothing overlaps.
        """
        shared = self._covers > 1
        if not shared.any():
            return 0.0
        mean = self._sum / self._weight
        variance = np.maximum(self._square / self._weight - mean**2, 0.0)
        return float(np.sqrt(variance[:, shared].mean() / max(mean.var(), 1e-12)))


def blend_weight(box: Box, boxes: Sequence[Box], *, margin: int) -> NDArray[np.float64]:
    """Weight of the tile at *box* among all *boxes* of its grid, ``(h, w)`` in ``[0, 1]``.

    Separable: zero on the outer *margin* of an overlap (where a convolution sees the tile's
    own edge), a cosine ramp over the rest of it, one inside and at the canvas border.
    No Gaussian: its corners underflow in half precision and turn into 0/0.
    """
    rows = _axis_weight(
        box.top, box.bottom, sorted({(other.top, other.bottom) for other in boxes}), margin
    )
    columns = _axis_weight(
        box.left, box.right, sorted({(other.left, other.right) for other in boxes}), margin
    )
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
