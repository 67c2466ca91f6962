"""What every measure is computed from: means of a picture that arrives row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Colours = NDArray[np.float16]
"""``(h, w, 3)`` mean colours of cells of 8 px, in ``[0, 1]``; 16 bits tell a tenth of 1/255."""

SEGMENT = 128
"""Length in pixels of the pieces a seam is measured in: texture averages out over one, and a
seam that shows for the length of one tile still fills a few."""
FINE = 4
"""Edge in pixels of the cells that detail is measured on. Blended latents lose detail of one to
two latents, 8 to 32 px; finer texture is the decoder's own and would hide that."""
CELL = 8
"""Edge in pixels of the cells that low frequencies are measured on."""

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32) / 255.0  # Rec. ITU-R BT.709
_MEAN_COLOUR = np.tile(np.eye(3, dtype=np.float32) / (255.0 * CELL**2), (CELL, 1))
_ROWS = 16  # of a 16384 px wide picture 3 MB as float32: stays in the processor's cache
# What rounding to 8 bits leaves in a flat picture: a cell is the mean of 16 roundings of variance
# 1/12, and the Laplacian adds a quarter.
_ROUNDING = np.float32(1.25 / 12.0 / FINE**2 / 255.0**2)


@dataclass(frozen=True, slots=True)
class AxisProfile:
    """A picture along one axis, averaged over segments of the other one."""

    luma: Floats
    """``(S, N)`` mean luma in ``[0, 1]`` of each pixel position, for every segment."""
    detail: Floats
    """``(S, N // 4)`` mean logarithm of the squared Laplacian of luma, on cells of 4 px."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """A picture reduced to 0.2 bytes per pixel."""

    rows: AxisProfile
    """Positions along the height, segments along the width."""
    columns: AxisProfile
    cells: Colours


class Profiler:
    """Reduces a picture to its profiles while it passes; 3 to 4 ns a pixel were measured."""

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._seen = 0
        self._pending = np.empty((0, width, 3), np.uint8)
        down, across = segment_count(height), segment_count(width)
        self._column_luma = np.zeros((down, width), np.float32)
        self._row_luma = np.zeros((height, across), np.float32)
        self._cells = np.zeros((height // CELL, width // CELL, 3), np.float16)
        self._detail = _Detail(height // FINE, width // FINE)

    def add(self, rows: Pixels) -> None:
        """Take the next *rows* ``(h, W, 3)`` uint8; nothing of them is kept."""
        rows = np.concatenate([self._pending, rows]) if len(self._pending) else rows
        is_last = self._seen + len(rows) == self._height
        whole = len(rows) if is_last else len(rows) // CELL * CELL
        for top in range(0, whole, _ROWS):
            self._take(rows[top : min(top + _ROWS, whole)])
        self._pending = rows[whole:].copy()

    def result(self) -> Profiles:
        """The profiles of the whole picture."""
        heights, widths = (_segment_lengths(side) for side in (self._height, self._width))
        rows, columns = self._detail.result()
        return Profiles(
            AxisProfile((self._row_luma / widths).T, rows),
            AxisProfile(self._column_luma / heights[:, None], columns),
            self._cells,
        )

    def _take(self, rows: Pixels) -> None:
        """Rows that start on a cell's edge and end on one, unless they are the picture's last."""
        first, self._seen = self._seen, self._seen + len(rows)
        self._row_luma[first : self._seen] = _luma_of_segments(rows)
        fine = _row_sums(rows, FINE)
        self._detail.add(_mean_luma(fine))
        coarse = _row_sums(fine, CELL // FINE).astype(np.float32)
        across = self._width // CELL
        cut = coarse[:, : across * CELL].reshape(len(coarse), across, 3 * CELL)
        top = first // CELL
        self._cells[top : top + len(coarse)] = cut @ _MEAN_COLOUR
        self._add_columns(first, coarse)
        if rest := len(rows) % CELL:
            self._add_columns(self._seen - rest, rows[None, -rest:].sum(1, dtype=np.float32))

    def _add_columns(self, first: int, sums: Floats) -> None:
        """Sums ``(n, W, 3)`` of 8 rows each, the topmost from row *first* on."""
        for offset, luma in enumerate(sums @ _LUMA):
            segment = (first + CELL * offset) // SEGMENT
            self._column_luma[min(segment, len(self._column_luma) - 1)] += luma


class _Detail:
    """Logarithms of detail in cells that arrive row by row."""

    def __init__(self, height: int, width: int) -> None:
        self._last = np.empty((0, width), np.float32)
        self._row = 1  # the border has no Laplacian
        down, across = segment_count(height * FINE), segment_count(width * FINE)
        self._rows = np.zeros((height, across), np.float32)
        self._columns = np.zeros((down, width), np.float64)
        self._counts = np.zeros(down, np.int64)

    def add(self, cells: Floats) -> None:
        """The next rows of cells, ``(n, w)``."""
        known = np.concatenate([self._last, cells])
        self._last = known[-2:]
        height, width = known.shape
        if height < 3 or width < 3:
            return
        detail = np.empty((height - 2, width), np.float32)
        detail[:, 1:-1] = np.log(_laplacian(known) ** 2 + _ROUNDING)
        detail[:, 0], detail[:, -1] = detail[:, 1], detail[:, -2]
        edges = [SEGMENT // FINE * index for index in range(self._rows.shape[1])]
        sums = np.add.reduceat(detail, edges, axis=1)
        self._rows[self._row : self._row + len(detail)] = sums / np.diff([*edges, width])
        for offset, line in enumerate(detail):
            segment = min((self._row + offset) * FINE // SEGMENT, len(self._columns) - 1)
            self._columns[segment] += line
            self._counts[segment] += 1
        self._row += len(detail)

    def result(self) -> tuple[Floats, Floats]:
        """Profiles of the rows and of the columns, ``(S, N)`` each; borders as their neighbours."""
        rows = self._rows
        if len(rows) > 2:
            rows[0], rows[-1] = rows[1], rows[-2]
        columns = self._columns / np.maximum(self._counts, 1)[:, None]
        return rows.T, columns.astype(np.float32)


def segment_count(length: int) -> int:
    """Segments of an axis; what is left over belongs to the last one."""
    return max(1, length // SEGMENT)


def _segment_lengths(length: int) -> Floats:
    starts = SEGMENT * np.arange(segment_count(length))
    return np.diff(np.append(starts, length)).astype(np.float32)


def _luma_of_segments(rows: Pixels) -> Floats:
    """Sums ``(h, S)`` of luma over the segments of each row."""
    height, width = rows.shape[:2]
    count = segment_count(width)
    colours = rows.reshape(height, -1).astype(np.float32)
    weights = np.tile(_LUMA, SEGMENT)
    used = min(count * SEGMENT, width)
    if used < SEGMENT:
        return (colours @ np.tile(_LUMA, width))[:, None]
    sums: Floats = colours[:, : 3 * used].reshape(height, count, -1) @ weights
    if used < width:
        sums[:, -1] += colours[:, 3 * used :] @ np.tile(_LUMA, width - used)
    return sums


def _row_sums(rows: NDArray[np.uint8] | NDArray[np.uint16], count: int) -> NDArray[np.uint16]:
    """Sums ``(h // count, W, 3)`` of *count* rows each."""
    groups = rows[: len(rows) // count * count].reshape(-1, count, *rows.shape[1:])
    total = groups[:, 0].astype(np.uint16)
    for offset in range(1, count):
        total += groups[:, offset]
    return total


def _mean_luma(sums: NDArray[np.uint16]) -> Floats:
    """Luma ``(h, W // 4)`` of cells, from sums ``(h, W, 3)`` of 4 rows each."""
    height, width = sums.shape[:2]
    cut = sums[:, : width // FINE * FINE].reshape(height, width // FINE, FINE * 3)
    mean: Floats = cut.astype(np.float32) @ np.tile(_LUMA / FINE**2, FINE)
    return mean


def _laplacian(cells: Floats) -> Floats:
    """Each inner cell less the mean of its four neighbours."""
    around = cells[:-2, 1:-1] + cells[2:, 1:-1] + cells[1:-1, :-2] + cells[1:-1, 2:]
    return cells[1:-1, 1:-1] - 0.25 * around
