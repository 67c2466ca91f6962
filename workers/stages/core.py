"""Cores: parts of the finished latents, decoded and super-resolved."""

from __future__ import annotations

import numpy as np

from app.canvas import read_window
from app.domain.plan import RenderPlan
from app.domain.work import Work, image_key
from app.pictures.codecs import encode_pixels
from workers.stages.context import Context
from workers.vae import decode


def render_core(context: Context, plan: RenderPlan, work: Work) -> bytes:
    """Pixels ``(H, W, 3)`` uint8 of one core."""
    model = context.model(plan, plan.spec.refine_model)
    core = plan.decode.cores[work.index]
    padded = core.padded(plan.decode.padding, within=plan.canvas)
    latents = read_window(plan, work.image, len(plan.phases), padded, context.shared_array)
    statistics = (
        context.shared_array(image_key(plan, work.image, "statistics"))
        if plan.decode.freeze_statistics
        else None
    )
    pixels = decode(model.vae, latents, statistics)
    if plan.spec.upscale > 1:
        pixels = context.upscalers.get(plan)(pixels)
    scale = plan.latent_scale * plan.spec.upscale
    window = plan.core_pixels(work.index).relative_to(padded.scaled(scale)).window
    return encode_pixels(np.round(pixels[window] * 255.0).astype(np.uint8))
