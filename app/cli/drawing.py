"""A plan as a picture: a panel for every grid of tiles, one for the cores it is decoded in."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from app.domain.errors import InvalidRequestError
from app.domain.geometry import Box, parts
from app.domain.plan import RenderPlan

_SHEET = 1600  # pixels a side
_PANEL = 640  # pixels a side of a square panel at most; others have its area
_GAP, _LINE = 16, 18
_CAPTION = 2 * _LINE + 4
_INK, _LEFT_OUT = (40, 40, 40), (190, 190, 190)
# In colours that differ from the neighbours on all sides.
_COLOURS = ((230, 80, 70), (60, 150, 230), (90, 190, 90), (240, 180, 50))


@dataclass(frozen=True, slots=True)
class _Panel:
    """Boxes in latents, *across* in a row of them; those not among *done* are left as they are."""

    caption: str
    boxes: Sequence[Box]
    across: int
    done: Collection[int]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """How panels of *height* x *width* pixels lie on it."""

    columns: int
    rows: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has them."""
        across = _GAP + self.columns * (self.width + _GAP)
        return across, _GAP + self.rows * (self.height + _CAPTION + _GAP)

    def corner(self, number: int) -> tuple[int, int]:
        """Left and top of panel *number*, its caption above it."""
        row, column = divmod(number, self.columns)
        left = _GAP + column * (self.width + _GAP)
        return left, _GAP + row * (self.height + _CAPTION + _GAP) + _CAPTION


def draw_plan(plan: RenderPlan, path: Path) -> None:
    """Write all grids of *plan* as a picture to *path*; phases on one grid share a panel."""
    panels = [*_phase_panels(plan), _core_panel(plan)]
    sheet = _choose_sheet(len(panels), plan.canvas.height, plan.canvas.width)
    picture = Image.new("RGB", sheet.size, "white")
    draw = ImageDraw.Draw(picture, "RGBA")
    for number, panel in enumerate(panels):
        _draw_panel(draw, panel, plan.canvas, sheet, sheet.corner(number))
    try:
        picture.save(path)
    except (OSError, ValueError) as err:
        raise InvalidRequestError(
            f"--draw must name a picture file that can be written: {err}"
        ) from err


def _phase_panels(plan: RenderPlan) -> Iterator[_Panel]:
    numbered = enumerate(plan.phases, 1)
    for grid, group in groupby(numbered, key=lambda entry: entry[1].grid):
        numbers, phases = zip(*group, strict=True)
        first, last, tile = numbers[0], numbers[-1], grid.tile(0).scaled(plan.latent_scale)
        span = f"phase {first}" if first == last else f"phases {first} to {last}"
        ratios = f"{phases[0].steps.sigmas[0]:.2g} to {phases[-1].end_sigma:.2g}"
        caption = (
            f"{span} of {len(plan.phases)}: noise {ratios}\n"
            f"{_counted(phases[0].indices, 'tile')} of {tile.width}x{tile.height} px"
        )
        yield _Panel(caption, grid.tiles, len(grid.columns.spans), phases[0].indices)


def _core_panel(plan: RenderPlan) -> _Panel:
    cores = plan.decode.cores
    across = sum(core.top == 0 for core in cores)
    enlarged = f", enlarged {plan.spec.upscale} times" if plan.spec.upscale > 1 else ""
    caption = f"pixels\n{_counted(plan.decode.indices, 'core')}{enlarged}"
    return _Panel(caption, cores, across, plan.decode.indices)


def _counted(units: Sequence[int], name: str) -> str:
    return f"{len(units)} {name}{'' if len(units) == 1 else 's'}"


def _choose_sheet(panels: int, height: int, width: int) -> _Sheet:
    """Of the columns that make panels of the aspect *height* x *width* largest, the most."""

    def zoom(columns: int) -> float:
        rows = math.ceil(panels / columns)
        room = (_SHEET // columns - _GAP) / width, (_SHEET // rows - _GAP - _CAPTION) / height
        return min(*room, _PANEL / math.sqrt(height * width))

    columns = max(range(1, panels + 1), key=lambda columns: (zoom(columns), columns))
    best = max(zoom(columns), 1 / min(height, width))
    sides = (max(1, round(side * best)) for side in (height, width))
    return _Sheet(columns, math.ceil(panels / columns), *sides)


def _draw_panel(
    draw: ImageDraw.ImageDraw, panel: _Panel, canvas: Box, sheet: _Sheet, corner: tuple[int, int]
) -> None:
    left, top = corner
    font = ImageFont.load_default(14)
    draw.text((left, top - _CAPTION), panel.caption, fill=_INK, font=font, spacing=2)
    zoom = sheet.width / canvas.width
    for index, box in enumerate(panel.boxes):
        row, column = divmod(index, panel.across)
        is_done = index in panel.done
        colour = _COLOURS[2 * (row % 2) + column % 2] if is_done else _LEFT_OUT
        for part in parts(box, canvas):
            inside = part.on_canvas
            corners = (
                *(left + inside.left * zoom, top + inside.top * zoom),
                *(left + inside.right * zoom - 1, top + inside.bottom * zoom - 1),
            )
            fill = (*colour, 50) if is_done else None
            draw.rectangle(corners, fill=fill, outline=(*colour, 255))
