"""Canvas latents in the store, in bands of rows: no process ever holds a whole large canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box, Part, parts
from app.domain.noise import Stream, noise_field
from app.domain.plan import RenderPlan
from app.domain.tiling import axis_edges
from app.domain.work import image_key
from app.pictures.codecs import encode_array
from app.storage.port import BlobStore

BAND_LATENTS = 128  # 17 MB for a 16384 px wide canvas of 16 channels

Latents = NDArray[np.float32]


def features_number(plan: RenderPlan) -> int:
    """Where a phase's number is asked for, the features that a head makes of the last canvas."""
    return len(plan.phases) + 1


def band_boxes(plan: RenderPlan) -> list[Box]:
    """The bands of *plan*'s canvas, top to bottom, in latents."""
    edges = axis_edges(plan.canvas_height, BAND_LATENTS)
    return [Box(top, 0, bottom, plan.canvas_width) for top, bottom in pairwise(edges)]


def band_key(plan: RenderPlan, image: int, phase: int, band: int) -> str:
    return image_key(plan, image, f"bands-{phase}/{band:04d}")


def write_band(
    store: BlobStore, plan: RenderPlan, image: int, phase: int, band: int, latents: Latents
) -> None:
    """Store *latents* ``(C, h, W)`` as band *band* of the canvas before *phase*."""
    store.put(band_key(plan, image, phase, band), encode_array(latents))


def bands_inside(plan: RenderPlan, box: Box) -> Iterator[tuple[int, Box, Part]]:
    """What of the canvas's bands is read for *box*: number and place of a band, part of the box."""
    bands = band_boxes(plan)
    for part in parts(box, plan.canvas):
        for number, band in enumerate(bands):
            if part.on_canvas.intersection(band):
                yield number, band, part


def tiles_inside(plan: RenderPlan, number: int, band: Box) -> Iterator[tuple[int, list[Part]]]:
    """The tiles of phase *number* that are merged into *band*, with their parts inside it."""
    phase = plan.phases[number]
    for index in phase.indices:
        found = parts(phase.grid.tile(index), plan.canvas)
        if inside := [part for part in found if part.on_canvas.intersection(band)]:
            yield index, inside


def middle_band(plan: RenderPlan, phase: int) -> Box:
    """Of the bands that tiles of *phase* reach into: all, but where a part is painted anew."""
    bands = [band for band in band_boxes(plan) if any(tiles_inside(plan, phase, band))]
    return bands[len(bands) // 2]


def read_window(
    plan: RenderPlan, image: int, phase: int, box: Box, read: Callable[[str], Latents]
) -> Latents:
    """Latents ``(C, h, w)`` of the canvas before *phase* inside *box*; *read* gives a blob.

    *box* may leave the canvas on an axis that wraps.
    """
    window: Latents | None = None
    for number, band, part in bands_inside(plan, box):
        shared = part.on_canvas.intersection(band) or part.on_canvas
        there = shared.relative_to(band).window
        here = shared.relative_to(part.on_canvas).inside(part.in_box).window
        latents = read(band_key(plan, image, phase, number))
        if window is None:
            window = np.empty((len(latents), box.height, box.width), latents.dtype)
        window[(slice(None), *here)] = latents[(slice(None), *there)]
    if window is None:
        raise InvalidPlanError(f"a window must not be empty, got {box}")
    return window


def noise_window(plan: RenderPlan, image: int, box: Box) -> NDArray[np.float32]:
    """The canvas's initial noise inside *box*, ``(C, h, w)``; it wraps like the canvas."""
    window = np.empty((plan.latent_channels, box.height, box.width), np.float32)
    for part in parts(box, plan.canvas):
        window[(slice(None), *part.in_box.window)] = noise_field(
            part.on_canvas,
            plan.latent_channels,
            seed=plan.spec.seed,
            stream=Stream.INITIAL,
            image=image,
        )
    return window
