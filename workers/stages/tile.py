"""Tiles: one window of the canvas, denoised over one phase."""

from __future__ import annotations

import numpy as np

from app.canvas import noise_window, read_window
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.work import Work
from app.pictures.codecs import encode_array
from workers.denoise import at_unit_variance
from workers.stages.context import Array, Check, Context
from workers.stages.editing import read_held
from workers.stages.masks import read_masks
from workers.stages.picture import read_control
from workers.stages.prepare import read_prompts
from workers.stages.walk import Window, as_array, walk, window_denoiser


def render_tile(context: Context, plan: RenderPlan, work: Work, check: Check) -> bytes:
    """Latents of the tile at the end of its phase, float32.

    ``(C, h, w)``: clean after the last phase, else at the phase's last sigma. Where clean
    latents and noise are merged apart, ``(2C, h, w)``: the prediction above its noise.
    """
    model = context.model(plan, plan.spec.refine_model)
    phase = plan.phases[work.phase]
    box = phase.tiles[work.index]
    window = canvas_window(plan, box)
    prompts = read_prompts(context, plan, work)
    masks = read_masks(context, plan)
    control = read_control(context, plan, work.image, model, box)
    denoiser = window_denoiser(plan, model, prompts, window, masks, control)
    start = _start(context, plan, work, box)
    if plan.is_edit:
        held = read_held(context, plan, work, box)
        start, denoiser = held.state(start, phase.steps.sigmas[0]), held.denoiser(denoiser)
    x, clean = walk(plan, model, denoiser, start, check, phase.steps)
    if work.phase + 1 == len(plan.phases):
        return encode_array(as_array(at_unit_variance(x, phase.end_sigma)))
    if phase.splits_noise:
        noise = (x - clean) / phase.end_sigma
        return encode_array(np.concatenate([as_array(clean), as_array(noise)]))
    return encode_array(as_array(x))


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


def _start(context: Context, plan: RenderPlan, work: Work, box: Box) -> Array:
    """The tile's latents at the phase's first sigma."""
    if work.phase > 0:
        return read_window(plan, work.image, work.phase, box, context.shared_array)
    scale = np.float32(plan.phases[0].steps.noise_scale)
    noise = scale * noise_window(plan, work.image, box)
    if not plan.starts_from_picture:
        return noise
    return noise + read_window(plan, work.image, 0, box, context.shared_array)
