"""A small picture enlarged to the canvas, window by window."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.card import ModelCard
from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.layout import native_sides
from app.domain.plan import RenderPlan
from app.domain.tiling import plan_cores

Pixels = NDArray[np.float32]
_LANCZOS_SUPPORT = 4  # source pixels the filter looks beyond a crop when it enlarges


def native_picture(picture: Pixels, card: ModelCard) -> Pixels:
    """*picture* at the model's native area, sides multiples of the latent scale."""
    height, width = picture.shape[:2]
    new_height, new_width = native_sides(card, height, width)
    scales = (height / new_height, width / new_width)
    return _resize(picture, scales, Box(0, 0, new_height, new_width))


class Enlarger:
    """Lanczos enlargement of *picture* to a plan's canvas, never held whole.

    A picture that is edited has the render's size. It is not stretched to a larger canvas, or
    it would not meet its own pixels: its last row and column are repeated.
    """

    def __init__(self, plan: RenderPlan, picture: Pixels) -> None:
        self._plan = plan
        if plan.spec.mask is not None:
            canvas = plan.canvas.scaled(plan.latent_scale)
            below, beside = canvas.height - len(picture), canvas.width - picture.shape[1]
            picture = np.pad(picture, ((0, below), (0, beside), (0, 0)), mode="edge")
        self._size = picture.shape[:2]
        self._border = _wrapped_border(plan, picture)
        rows, columns = self._border
        self._picture = np.pad(picture, ((rows, rows), (columns, columns), (0, 0)), mode="wrap")

    def in_cores(
        self, box: Box, core: int, run: Callable[[Pixels], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """What *run* makes of *box*, ``(C, h, w)``, a value for a latent.

        It sees cores of *core* latents a side at most, and what an encoder reaches around them.
        """
        plan = self._plan
        made: NDArray[np.float32] | None = None
        padding = plan.encoder_padding // plan.latent_scale
        for part in plan_cores(box.height, box.width, core=core):
            inner = part.inside(box)
            padded = inner.padded(padding, within=plan.reach)
            values = run(self.window(padded.scaled(plan.latent_scale)))
            if made is None:
                made = np.empty((len(values), box.height, box.width), np.float32)
            rows, columns = inner.relative_to(padded).window
            made[(slice(None), *part.window)] = values[:, rows, columns]
        if made is None:
            raise InvalidPlanError(f"a part to encode must not be empty, got {box}")
        return made

    def window(self, box: Box) -> Pixels:
        """The enlarged picture inside *box*, canvas pixels; equal to a crop of the whole.

        *box* may leave the canvas by an encoder's padding on an axis that wraps.
        """
        canvas = self._plan.canvas.scaled(self._plan.latent_scale)
        scales = (self._size[0] / canvas.height, self._size[1] / canvas.width)
        return _resize(self._picture, scales, box, border=self._border)


def _wrapped_border(plan: RenderPlan, picture: Pixels) -> tuple[int, int]:
    """Rows and columns of *picture* to repeat beyond its ends where the canvas wraps."""
    height, width = picture.shape[:2]
    reach = plan.encoder_padding / plan.latent_scale
    rows = math.ceil(reach * height / plan.canvas_height) + _LANCZOS_SUPPORT
    columns = math.ceil(reach * width / plan.canvas_width) + _LANCZOS_SUPPORT
    return (
        rows if plan.spec.wrap.rows else 0,
        columns if plan.spec.wrap.columns else 0,
    )


def _resize(
    picture: Pixels, scales: tuple[float, float], box: Box, *, border: tuple[int, int] = (0, 0)
) -> Pixels:
    """Box *box* of *picture* enlarged; *scales* are source pixels per pixel, rows and columns.

    The picture starts *border* pixels inside *picture*. Pillow filters past the crop's edges.
    """
    rows, columns = scales
    top, left = border
    source = (
        box.left * columns + left,
        box.top * rows + top,
        box.right * columns + left,
        box.bottom * rows + top,
    )
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(picture[..., channel])).resize(
                (box.width, box.height), Image.Resampling.LANCZOS, box=source
            )
        )
        for channel in range(picture.shape[2])
    ]
    return np.asarray(np.clip(np.stack(channels, axis=-1), 0.0, 1.0))
