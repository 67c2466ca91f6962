"""The lines of a picture file, as typed: a grid of tiles, or single lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import typer

from app.domain.errors import InvalidRequestError
from app.domain.quality import SeamAxis, SeamGrid, seam_axis
from app.domain.tiling import plan_axis

_GRID = re.compile(r"(\d{1,9})x(\d{1,9})")
_LINES = re.compile(r"\d{1,9}(,\d{1,9})*")
_JPEG_BLOCK = 8  # also the latent of most models; see SeamAxis.raster


@dataclass(frozen=True, slots=True)
class TypedLines:
    """Where seams are said to be in a picture whose size is not known yet."""

    tile: int
    overlap: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    wraps_rows: bool
    wraps_columns: bool

    def on(self, height: int, width: int) -> SeamGrid:
        """The lines on a picture of that size.

        Raises ``InvalidRequestError`` for a line outside, or when there is none at all.
        """
        grid = SeamGrid(
            self._axis("--rows", height, self.rows, self.wraps_rows),
            self._axis("--columns", width, self.columns, self.wraps_columns),
        )
        if not grid.rows.lines and not grid.columns.lines:
            raise InvalidRequestError(
                f"--grid must have more than one tile in a picture of {width}x{height} px, "
                f"got tiles of {self.tile} px"
            )
        return grid

    def _axis(self, option: str, length: int, lines: tuple[int, ...], wraps: bool) -> SeamAxis:
        for line in lines:
            if not 0 < line < length:
                raise InvalidRequestError(
                    f"{option} must lie inside the picture, in 1 to {length - 1}, got {line}"
                )
        if self.tile:
            spans = plan_axis(length, self.tile, self.overlap, wraps=wraps).spans
            axis = seam_axis(length, spans, cuts=lines, wraps=wraps)
        else:
            axis = SeamAxis(length, joints=lines, cuts=(0,) if wraps else (), wraps=wraps)
        is_on_blocks = all(line % _JPEG_BLOCK == 0 for line in axis.lines)
        return replace(axis, raster=_JPEG_BLOCK) if is_on_blocks else axis


def read_lines(
    grid: str | None, rows: str | None, columns: str | None, wrap: str | None
) -> TypedLines | None:
    """The options of a picture file; ``None`` when none is given."""
    if grid is None and rows is None and columns is None and wrap is None:
        return None
    if wrap not in (None, "x", "xy"):
        raise typer.BadParameter(f"must be x or xy, got {wrap[:60]!r}", param_hint="--wrap")
    tile, overlap = _read_grid(grid) if grid is not None else (0, 0)
    return TypedLines(
        tile,
        overlap,
        _read_positions("--rows", rows),
        _read_positions("--columns", columns),
        wraps_rows=wrap == "xy",
        wraps_columns=wrap is not None,
    )


def _read_grid(text: str) -> tuple[int, int]:
    match = _GRID.fullmatch(text.strip().lower())
    if match is None or not int(match[2]) < int(match[1]):
        raise typer.BadParameter(
            f"must be TILExOVERLAP such as 512x128, the tile larger, got {text[:60]!r}",
            param_hint="--grid",
        )
    return int(match[1]), int(match[2])


def _read_positions(option: str, text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    if not _LINES.fullmatch(text):
        raise typer.BadParameter(
            f"must be positions in pixels such as 384,768, got {text[:60]!r}", param_hint=option
        )
    return tuple(sorted({int(part) for part in text.split(",")}))
