"""A picture of where seams show: the picture itself, dimmed, under its lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from app.domain.quality import SEGMENT, SeamGrid, SeamScores

PREVIEW_SIDE = 2048
"""Pixels a side of the largest heat map; thinner lines would not be seen in a larger one."""
_DIMMED = 0.45

# |z| and its colour; between two of them the colour is mixed. Blue is what most lines have at the
# worst of five scales, red what one place in 2000 has at one. Told apart by brightness, too.
_SCALE = (0.0, 1.5, 2.5, 3.5)
_COLOURS = ((40, 60, 120), (70, 110, 190), (250, 200, 60), (255, 40, 30))


def draw_seams(preview: NDArray[np.uint8], grid: SeamGrid, seams: SeamScores) -> Image.Image:
    """*preview* ``(h, w, 3)``, a picture reduced or not, under the lines of *grid*.

    A line is cut into its segments, each in the colour of its |z|; what has none is left out.
    """
    height, width = preview.shape[:2]
    down, across = height / grid.rows.length, width / grid.columns.length
    canvas = Image.fromarray((preview * _DIMMED).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    half = max(1, round(min(height, width) / 400))
    strokes = []
    for line, scores in zip(grid.columns.lines, seams.columns, strict=True):
        for (top, bottom), z in zip(_segments(grid.rows.length, len(scores)), scores, strict=True):
            x = line * across
            strokes.append((z, (x - half, top * down, x + half - 1, bottom * down - 1)))
    for line, scores in zip(grid.rows.lines, seams.rows, strict=True):
        for (left, right), z in zip(
            _segments(grid.columns.length, len(scores)), scores, strict=True
        ):
            y = line * down
            strokes.append((z, (left * across, y - half, right * across - 1, y + half - 1)))
    for z, box in sorted(stroke for stroke in strokes if np.isfinite(stroke[0])):
        draw.rectangle(box, fill=_colour(z))
    return canvas


def _segments(length: int, count: int) -> list[tuple[int, int]]:
    """First and last of the pieces that a line across *length* pixels is measured in."""
    starts = [SEGMENT * index for index in range(count)]
    return list(zip(starts, [*starts[1:], length], strict=True))


def _colour(z: float) -> tuple[int, int, int]:
    red, green, blue = (
        round(float(np.interp(z, _SCALE, channel))) for channel in zip(*_COLOURS, strict=True)
    )
    return red, green, blue
