"""Tiles: windows of the canvas, denoised over one phase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from app.canvas import noise_window, read_window
from app.domain.anchoring import base_share, holds_base
from app.domain.batching import batches
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.work import Work
from app.pictures.codecs import encode_array
from workers.denoise import Hold, at_unit_variance
from workers.stages.context import Array, Check, Context
from workers.stages.editing import read_held
from workers.stages.finite import finite
from workers.stages.masks import read_masks
from workers.stages.picture import read_control
from workers.stages.prepare import read_prompts
from workers.stages.walk import Window, as_array, walk, window_denoiser


def render_tiles(
    context: Context, plan: RenderPlan, works: Sequence[Work], check: Check
) -> list[bytes]:
    """Latents of *works*, tiles of one image and phase, at the end of their phase; float32.

    ``(C, h, w)``: clean after the last phase, else at the phase's last sigma. Where clean
    latents and noise are merged apart, ``(2C, h, w)``: the prediction above its noise.

    Tiles of one size go through the network together. Any part of a batch may be asked for.
    """
    blobs: dict[Work, bytes] = {}
    for batch in batches(plan, works, len(works)):
        latents = _denoised(context, plan, batch, check)
        for work, made in zip(batch, latents, strict=True):
            blobs[work] = encode_array(finite(made, work.label))
    return [blobs[work] for work in works]


def _denoised(context: Context, plan: RenderPlan, works: Sequence[Work], check: Check) -> Array:
    """What a batch of equal tiles leaves, ``(B, C or 2C, h, w)``."""
    model, first = context.model(plan, plan.spec.refine_model), works[0]
    phase = plan.phases[first.phase]
    boxes = [phase.grid.tile(work.index) for work in works]
    denoiser = window_denoiser(
        plan,
        model,
        read_prompts(context, plan, first),
        [canvas_window(plan, box) for box in boxes],
        read_masks(context, plan),
        read_control(context, plan, first.image, model, boxes),
    )
    start = np.stack([_start(context, plan, first, box) for box in boxes])
    if plan.is_edit:
        held = read_held(context, plan, first.image, boxes)
        start, denoiser = held.state(start, phase.steps.sigmas[0]), held.denoiser(denoiser)
    hold = _to_base(context, plan, first, boxes)
    x, clean = walk(plan, model, denoiser, start, check, phase.steps, hold=hold)
    if first.phase + 1 == len(plan.phases):
        return as_array(at_unit_variance(x, phase.end_sigma))
    if phase.splits_noise:
        return as_array(torch.cat([clean, (x - clean) / phase.end_sigma], dim=1))
    return as_array(x)


def canvas_window(plan: RenderPlan, box: Box) -> Window:
    """Where *box* of the canvas lies in the picture."""
    pixels = plan.latent_scale * plan.spec.upscale
    wrap, canvas = plan.spec.wrap, plan.canvas
    rows = np.arange(box.top, box.bottom) % canvas.height
    columns = np.arange(box.left, box.right) % canvas.width
    return Window(
        rows=np.asarray((rows + 0.5) * pixels),
        columns=np.asarray((columns + 0.5) * pixels),
        closes_rows=wrap.rows and box.height == canvas.height,
        closes_columns=wrap.columns and box.width == canvas.width,
    )


def _to_base(context: Context, plan: RenderPlan, work: Work, boxes: Sequence[Box]) -> Hold | None:
    """Moves tiles back towards the base picture, under the noise they started with."""
    if not holds_base(plan, work.phase):
        return None
    start, noise = (
        torch.from_numpy(np.stack(windows))
        for windows in (
            [read_window(plan, work.image, 0, box, context.shared_array) for box in boxes],
            [noise_window(plan, work.image, box) for box in boxes],
        )
    )

    def hold(x: Tensor, sigma: float) -> Tensor:
        share = base_share(sigma)
        return (1.0 - share) * x + share * (start + sigma * noise)

    return hold


def _start(context: Context, plan: RenderPlan, work: Work, box: Box) -> Array:
    """The tile's latents at the phase's first sigma."""
    if work.phase > 0:
        return read_window(plan, work.image, work.phase, box, context.shared_array)
    scale = np.float32(plan.phases[0].steps.noise_scale)
    noise = scale * noise_window(plan, work.image, box)
    if not plan.starts_from_picture:
        return noise
    return noise + read_window(plan, work.image, 0, box, context.shared_array)
