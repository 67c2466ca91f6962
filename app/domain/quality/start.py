"""Comparisons with the picture that a render started from: drift of its tones, repetition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain.geometry import Box
from app.domain.quality.profiles import CELL, Colours, Floats

BLUR = 64
"""Edge in canvas pixels of the box that leaves the low frequencies."""
PATCH = 16
"""Samples a side that a tile is reduced to before it is compared with another."""
MAX_TILES = 2048  # of more, evenly chosen ones are compared: time grows with the square
_FLAT = 4.0 / 255.0  # a tile of less deviation has nothing that could be seen twice


def _plane() -> NDArray[np.float64]:
    """Orthonormal constant and slopes of a patch, ``(16 * 16, 3)``."""
    slope, flat = np.arange(PATCH) - (PATCH - 1) / 2, np.ones(PATCH)
    planes = [
        np.outer(rows, columns).ravel()
        for rows, columns in ((flat, flat), (slope, flat), (flat, slope))
    ]
    return np.stack([plane / np.linalg.norm(plane) for plane in planes], axis=1)


_PLANE = _plane()


def low_frequency_drift(cells: Colours, start: Colours, *, upscale: int = 1) -> float | None:
    """RMS difference of two pictures under a box blur of 64 px, in ``[0, 1]``.

    Both are ``(h, w, 3)`` float16 in ``[0, 1]`` on cells of 8 px. The blur is of the canvas: of
    its picture, *upscale* times larger, it takes as many times more. It is sampled at every half
    of its width. ``None`` for a picture that is smaller.
    """
    size = BLUR * upscale // 2 // CELL
    if min(cells.shape[:2]) < 2 * size:
        return None
    difference = _half_boxes(cells, size) - _half_boxes(start, size)
    rows = difference[1:] + difference[:-1]
    blurred = 0.25 * (rows[:, 1:] + rows[:, :-1])
    return float(np.sqrt((blurred**2).mean()))


def repetition(cells: Colours, start: Colours, tiles: Sequence[Box]) -> float | None:
    """How much more two tiles resemble each other than any two did in the start.

    The largest normalised cross-correlation of two of *tiles*, boxes in pixels, less the same of
    *start*; pictures as in ``low_frequency_drift``. A subject that appears in every tile gives
    up to 1. ``None`` where no two tiles can be compared.
    """
    chosen = tiles[:: 1 + len(tiles) // (MAX_TILES + 1)]
    now, before = _largest_correlation(cells, chosen), _largest_correlation(start, chosen)
    return None if now is None else now - (before or 0.0)


def _half_boxes(cells: Colours, size: int) -> NDArray[np.float64]:
    """Means of squares of *size* cells; what is left over at the end is left out."""
    height, width = (side // size for side in cells.shape[:2])
    cut = cells[: size * height, : size * width].reshape(height, size, width, size, 3)
    return np.asarray(cut.mean(axis=(1, 3), dtype=np.float64))


def _largest_correlation(cells: Colours, tiles: Sequence[Box]) -> float | None:
    patches = [patch for tile in tiles if (patch := _patch(cells, tile)) is not None]
    if len(patches) < 2:
        return None
    known = np.stack(patches)
    correlations = known @ known.T
    np.fill_diagonal(correlations, -1.0)
    return float(correlations.max())


def _patch(cells: Colours, tile: Box) -> Floats | None:
    """*tile* at 16 samples a side, of unit length; ``None`` if flat.

    Without its mean and slope: shores and skies resemble each other in nothing else.
    """
    window = cells[tile.top // CELL : tile.bottom // CELL, tile.left // CELL : tile.right // CELL]
    if min(window.shape[:2]) < 2:
        return None
    reduced = _reduced(_reduced(window.astype(np.float32)).swapaxes(0, 1))
    patch = reduced.reshape(-1, 3).astype(np.float64)
    patch -= _PLANE @ (_PLANE.T @ patch)
    if patch.std() < _FLAT:
        return None
    return (patch / np.linalg.norm(patch)).ravel().astype(np.float32)


def _reduced(window: Floats) -> Floats:
    """Means of 16 near equal parts along the first axis, none empty."""
    edges = len(window) * np.arange(PATCH + 1) // PATCH
    counts = np.maximum(1, np.diff(edges))[:, None, None]
    return (np.add.reduceat(window, edges[:-1], axis=0) / counts).astype(np.float32)
