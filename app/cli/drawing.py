"""A plan as a picture: the tiles of its phases and the cores it is decoded in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw

from app.domain.errors import InvalidRequestError
from app.domain.geometry import Box, parts
from app.domain.plan import RenderPlan

_LONGEST_SIDE = 1600
_CORES = (110, 110, 110)
# Tiles in colours that differ from their neighbours on all sides.
_TILES = ((230, 80, 70), (60, 150, 230), (90, 190, 90), (240, 180, 50))


def draw_plan(plan: RenderPlan, path: Path) -> None:
    """Write the grid of the last phase, whose tiles overlap, as a picture to *path*."""
    pixels = plan.latent_scale * plan.spec.upscale
    canvas = plan.canvas.scaled(pixels)
    zoom = min(1.0, _LONGEST_SIDE / max(canvas.height, canvas.width))
    size = (max(1, round(canvas.width * zoom)), max(1, round(canvas.height * zoom)))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture, "RGBA")
    _outline(draw, (core.scaled(pixels) for core in plan.decode.cores), zoom)
    grid = plan.phases[-1].grid
    for index, tile in enumerate(grid.tiles):
        row, column = divmod(index, len(grid.columns.spans))
        colour = _TILES[2 * (row % 2) + column % 2]
        for part in parts(tile, plan.canvas):
            box = _corners(part.on_canvas.scaled(pixels), zoom)
            draw.rectangle(box, fill=(*colour, 50), outline=(*colour, 255))
    try:
        picture.save(path)
    except (OSError, ValueError) as err:
        raise InvalidRequestError(
            f"--draw must name a picture file that can be written: {err}"
        ) from err


def _outline(draw: ImageDraw.ImageDraw, boxes: Iterable[Box], zoom: float) -> None:
    for box in boxes:
        draw.rectangle(_corners(box, zoom), outline=_CORES)


def _corners(box: Box, zoom: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom as Pillow draws them: the last pixel is inside."""
    return box.left * zoom, box.top * zoom, box.right * zoom - 1, box.bottom * zoom - 1
