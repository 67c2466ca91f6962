"""Orders that a tiny model of any family fulfils in no time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain import decoding
from app.domain.card import ModelCard
from app.domain.plan import RenderPlan
from app.domain.planner import plan_render
from app.domain.spec import Mode
from tests.support.upscalers import TINY_UPSCALER
from tests.unit.domain.cards import LIMITS, SPEC
from workers.families.model import Model

SMALL_CORE = 16
"""Latents a side, so that a small canvas has several cores and a head."""


def family_plan(
    card: ModelCard,
    mode: Mode,
    *,
    height: int = 32,
    width: int = 48,
    upscale: int = 1,
    **changes: object,
) -> RenderPlan:
    """A canvas of *height* x *width* latents in tiles of 16."""
    scale = card.latent_scale
    order: dict[str, object] = {
        "prompt": "a map",
        "height": height * scale * upscale,
        "width": width * scale * upscale,
        "upscale": upscale,
        "steps": 3,
        "guidance": 2.0,
        "sampler": "euler",
        "mode": mode,
        "tile": 16 * scale,
        "overlap": 8 * scale,
        "base_model": card.name,
        "refine_model": card.name,
    }
    spec = replace(SPEC, **order | changes)  # type: ignore[arg-type]
    upscaler = TINY_UPSCALER if upscale > 1 else None
    return plan_render(spec, {card.name: card}, upscaler=upscaler, limits=LIMITS)


def whole_plan(card: ModelCard, mode: Mode, **changes: object) -> RenderPlan:
    """A small picture with every stage that *mode* has: base, tiles, a head, several cores."""
    sizes = {"height": 24, "width": 24, "upscale": 2}
    with patch.object(decoding, "CORE_LATENTS", SMALL_CORE):
        return family_plan(card, mode, **sizes | changes)  # type: ignore[arg-type]


def in_double_precision(model: Model) -> Model:
    """A copy of *model* that computes in it."""
    exact = replace(model, dtype=torch.float64, pipeline=deepcopy(model.pipeline))
    exact.pipeline.to(torch.float64)
    return exact


def with_portable_weights(model: Model) -> Model:
    """A copy of *model* in double precision whose weights are the same on any machine.

    The last bits of torch's normal draws are the processor's; these weights are uniform draws,
    which are integers until they are scaled.
    """
    exact, draw = in_double_precision(model), np.random.Generator(np.random.Philox(0))
    for network in exact.pipeline.components.values():
        if isinstance(network, torch.nn.Module):
            for name, parameter in network.named_parameters():
                parameter.data = torch.from_numpy(_weights(name, tuple(parameter.shape), draw))
    return exact


def _weights(name: str, shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.float64]:
    """Of unit gain where a layer has inputs; norms leave what they normalise as it is."""
    if len(shape) == 1:
        return np.full(shape, float(name.endswith("weight")))
    inputs = int(np.prod(shape[1:]))
    return np.asarray((2.0 * draw.random(shape) - 1.0) * (3.0 / inputs) ** 0.5)
