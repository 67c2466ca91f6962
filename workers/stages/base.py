"""The base: a picture of the model's native size with the canvas's aspect."""

from __future__ import annotations

import numpy as np

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.plan import Base, RenderPlan
from app.domain.work import Work
from app.pictures.codecs import encode_array
from workers.denoise import at_unit_variance
from workers.families.model import Model
from workers.layers import before_layers
from workers.stages.context import Array, Check, Context
from workers.stages.finite import finite
from workers.stages.masks import read_masks
from workers.stages.walk import Window, as_array, encode_prompts, walk, window_denoiser
from workers.vae import decode


def render_base(context: Context, plan: RenderPlan, work: Work, check: Check) -> bytes:
    """Pixels ``(H, W, 3)`` float32 in ``[0, 1]``."""
    if plan.base is None:
        raise InvalidPlanError("this plan has no base picture")
    model = context.model(plan, plan.spec.base_model)
    noise = noise_field(
        Box(0, 0, plan.base.height, plan.base.width),
        model.card.latent_channels,
        seed=plan.spec.seed,
        stream=Stream.BASE,
        image=work.image,
    )
    steps, prompts = plan.base.steps, list(encode_prompts(model, plan, check))
    window = _base_window(plan, plan.base)
    denoiser = window_denoiser(plan, model, prompts, [window], read_masks(context, plan))
    start = np.float32(steps.noise_scale) * noise[None]
    x, _ = walk(plan, model, denoiser, start, check, steps)
    (latents,) = as_array(at_unit_variance(x, steps.sigmas[-1]))
    with before_layers(model.vae, check):
        return encode_array(finite(_decoded(model, latents, window), work.label))


def _decoded(model: Model, latents: Array, window: Window) -> Array:
    """Pixels ``(H, W, 3)`` of the base; where its ends meet, the decoder sees them meet."""
    scale, padding = model.card.latent_scale, model.card.decoder_padding
    rows, columns = padding * window.closes_rows, padding * window.closes_columns
    around = np.pad(latents, ((0, 0), (rows, rows), (columns, columns)), mode="wrap")
    inner = Box(rows, columns, rows + latents.shape[1], columns + latents.shape[2])
    return decode(model.vae, around)[inner.scaled(scale).window]


def _base_window(plan: RenderPlan, base: Base) -> Window:
    """Where the base's latents lie in the picture, which has the same aspect."""
    spec = plan.spec
    return Window(
        rows=(np.arange(base.height) + 0.5) / base.height * spec.height,
        columns=(np.arange(base.width) + 0.5) / base.width * spec.width,
        closes_rows=spec.wrap.rows,
        closes_columns=spec.wrap.columns,
    )
