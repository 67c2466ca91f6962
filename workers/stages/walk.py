"""Denoising under a plan's prompt, from numpy to numpy."""

from __future__ import annotations

import numpy as np
import torch

from app.domain.plan import RenderPlan
from app.domain.schedule import Steps
from workers.denoise import denoise, guided_denoiser
from workers.families.conditioning import Conditioning
from workers.families.model import Model
from workers.stages.context import Array, Check


def encode_prompts(model: Model, plan: RenderPlan) -> Conditioning:
    return model.encode_prompts([plan.spec.negative_prompt, plan.spec.prompt])


def walk(
    plan: RenderPlan, model: Model, prompts: Conditioning, x: Array, check: Check, steps: Steps
) -> Array:
    """Denoise *x* ``(C, H, W)`` float32 down *steps*."""
    denoiser = guided_denoiser(model, prompts, plan.spec.guidance)
    start = torch.from_numpy(x)[None]
    result = denoise(denoiser, start, steps, plan.spec.sampler, check)
    return np.asarray(result[0].cpu().numpy())
