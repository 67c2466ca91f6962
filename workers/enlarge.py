"""A small picture enlarged to the canvas, window by window, and encoded to latents."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.card import ModelCard
from app.domain.decoding import CORE_LATENTS
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.tiling import plan_cores

Pixels = NDArray[np.float32]


def native_picture(picture: Pixels, card: ModelCard) -> Pixels:
    """*picture* at the model's native area, sides multiples of the latent scale."""
    height, width = picture.shape[:2]
    factor = card.native_size / math.sqrt(height * width)
    sides = (max(1, round(side * factor / card.latent_scale)) for side in (height, width))
    new_height, new_width = (side * card.latent_scale for side in sides)
    return _resize(picture, (new_height, new_width), Box(0, 0, new_height, new_width))


class Enlarger:
    """Lanczos enlargement of *picture* to a plan's canvas, never held whole."""

    def __init__(self, plan: RenderPlan, picture: Pixels) -> None:
        self._plan = plan
        self._picture = picture

    def latents(
        self, band: Box, encode: Callable[[Pixels], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Latents ``(C, h, w)`` of *band*: windows encoded with the encoder's receptive field."""
        plan = self._plan
        canvas = np.empty((plan.latent_channels, band.height, band.width), np.float32)
        padding = plan.encoder_padding // plan.latent_scale
        for part in plan_cores(band.height, band.width, core=CORE_LATENTS):
            core = part.inside(band)
            padded = core.padded(padding, within=plan.canvas)
            encoded = encode(self.window(padded.scaled(plan.latent_scale)))
            rows, columns = core.relative_to(padded).window
            canvas[(slice(None), *part.window)] = encoded[:, rows, columns]
        return canvas

    def window(self, box: Box) -> Pixels:
        """The enlarged picture inside *box*, canvas pixels; equal to a crop of the whole."""
        canvas = self._plan.canvas.scaled(self._plan.latent_scale)
        return _resize(self._picture, (canvas.height, canvas.width), box)


def _resize(picture: Pixels, size: tuple[int, int], box: Box) -> Pixels:
    """Crop *box* of *picture* resized to *size*; Pillow filters past the crop's edges."""
    height, width = picture.shape[:2]
    rows, columns = height / size[0], width / size[1]
    source = (box.left * columns, box.top * rows, box.right * columns, box.bottom * rows)
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(picture[..., channel])).resize(
                (box.width, box.height), Image.Resampling.LANCZOS, box=source
            )
        )
        for channel in range(picture.shape[2])
    ]
    return np.asarray(np.clip(np.stack(channels, axis=-1), 0.0, 1.0))
