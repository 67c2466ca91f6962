"""Tiles: one window of the canvas, denoised over one phase."""

from __future__ import annotations

from app.canvas import read_window
from app.domain.noise import Stream, noise_field
from app.domain.plan import RenderPlan
from app.domain.work import Work, image_key
from app.pictures.codecs import encode_array
from workers.stages.context import Check, Context
from workers.stages.walk import walk


def render_tile(context: Context, plan: RenderPlan, work: Work, check: Check) -> bytes:
    """Latents ``(C, h, w)`` float32 of the tile at the end of its phase."""
    model = context.model(plan, plan.spec.refine_model)
    phase = plan.phases[work.phase]
    box = phase.tiles[work.index]
    x = phase.steps.noise_scale * noise_field(
        box,
        plan.latent_channels,
        seed=plan.spec.seed,
        stream=Stream.INITIAL,
        image=work.image,
    )
    if plan.starts_from_picture:
        x = x + read_window(plan, work.image, work.phase, box, context.shared_array)
    prompts = context.shared_prompts(image_key(plan, work.image, "prompt"))
    return encode_array(walk(plan, model, prompts, x, check, phase.steps))
