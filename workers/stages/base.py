"""The base: a picture of the model's native size with the canvas's aspect."""

from __future__ import annotations

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.plan import RenderPlan
from app.domain.work import Work
from app.pictures.codecs import encode_array
from workers.stages.context import Check, Context
from workers.stages.walk import encode_prompts, walk
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
    steps = plan.base.steps
    latents = walk(
        plan, model, encode_prompts(model, plan), steps.noise_scale * noise, check, steps
    )
    return encode_array(decode(model.vae, latents))
