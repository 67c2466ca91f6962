"""Canvas latents in the store, in bands of rows: no process ever holds a whole large canvas."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.tiling import axis_edges
from app.domain.work import image_key
from app.pictures.codecs import encode_array
from app.storage.port import BlobStore

BAND_LATENTS = 128  # 17 MB for a 16384 px wide canvas of 16 channels

Latents = NDArray[np.float32]


def band_boxes(plan: RenderPlan) -> list[Box]:
    """The bands of *plan*'s canvas, top to bottom, in latents."""
    edges = axis_edges(plan.canvas_height, BAND_LATENTS)
    return [Box(top, 0, bottom, plan.canvas_width) for top, bottom in pairwise(edges)]


def band_key(plan: RenderPlan, image: int, phase: int, band: int) -> str:
    return image_key(plan, image, f"bands-{phase}/{band:04d}")


def write_band(
    store: BlobStore, plan: RenderPlan, image: int, phase: int, band: int, latents: Latents
) -> None:
    """Store *latents* ``(C, h, W)`` float32 as band *band* of the canvas before *phase*."""
    store.put(band_key(plan, image, phase, band), encode_array(latents))


def read_window(
    plan: RenderPlan, image: int, phase: int, box: Box, read: Callable[[str], Latents]
) -> Latents:
    """Latents ``(C, h, w)`` of the canvas before *phase* inside *box*; *read* gives a blob."""
    window = np.empty((plan.latent_channels, box.height, box.width), np.float32)
    for number, band in enumerate(band_boxes(plan)):
        shared = box.intersection(band)
        if shared is None:
            continue
        rows, columns = shared.relative_to(band).window
        latents = read(band_key(plan, image, phase, number))
        window[(slice(None), *shared.relative_to(box).window)] = latents[:, rows, columns]
    return window
