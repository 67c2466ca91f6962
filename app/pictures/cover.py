"""The check that cores tile a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box


def check_cover(height: int, width: int, cores: Sequence[Box]) -> None:
    """Raises ``InvalidPlanError`` unless *cores* cover the canvas exactly once."""
    canvas = Box(0, 0, height, width)
    for core in cores:
        if core.height < 1 or core.width < 1 or core != core.padded(0, within=canvas):
            raise InvalidPlanError(
                f"a core must lie inside the canvas of {width}x{height} px, got {core}"
            )
    # Counted on the grid of all core edges: its cells are covered wholly or not at all.
    rows = np.unique([0, height, *(edge for core in cores for edge in (core.top, core.bottom))])
    columns = np.unique([0, width, *(edge for core in cores for edge in (core.left, core.right))])
    covered = np.zeros((len(rows) - 1, len(columns) - 1), np.uint8)
    for core in cores:
        top, bottom = np.searchsorted(rows, (core.top, core.bottom))
        left, right = np.searchsorted(columns, (core.left, core.right))
        if covered[top:bottom, left:right].any():
            raise InvalidPlanError(f"cores must cover each pixel once, got {core} over another")
        covered[top:bottom, left:right] = 1
    for row, column in np.argwhere(covered == 0)[:1]:
        raise InvalidPlanError(
            f"cores must cover the canvas of {width}x{height} px, "
            f"got none at row {rows[row]}, column {columns[column]}"
        )
