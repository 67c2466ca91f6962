"""Denoising windows under a plan's prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain.plan import RenderPlan
from app.domain.regions import prompt_weights
from app.domain.schedule import Steps
from workers.denoise import Denoiser, Hold, closed_denoiser, denoise, guided_denoiser
from workers.families.conditioning import Conditioning
from workers.families.control import Control
from workers.families.model import Model
from workers.stages.context import Array, Check
from workers.stages.masks import Masks

_FAINT = 1e-3  # a prompt with less weight than this everywhere is not evaluated


@dataclass(frozen=True, slots=True)
class Window:
    """The positions of a window's latents, in pixels of the picture, and whether its ends meet."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    closes_rows: bool = False
    closes_columns: bool = False


def encode_prompts(model: Model, plan: RenderPlan, check: Check) -> Iterator[Conditioning]:
    """Every prompt of *plan* with its negative prompt: the picture's own, then the regions'."""
    spec = plan.spec
    pairs = [(spec.negative_prompt, spec.prompt)]
    pairs += [(region.negative_prompt, region.prompt) for region in spec.regions]
    for pair in pairs:
        check()
        yield model.encode_prompts(list(pair))


def window_denoiser(
    plan: RenderPlan,
    model: Model,
    prompts: Sequence[Conditioning],
    windows: Sequence[Window],
    masks: Masks,
    control: Control | None = None,
) -> Denoiser:
    """Predicts the clean latents of *windows* of one size: every prompt where it counts, ends
    joined.

    Each prompt is joined on its own, because weights are those of the picture, not of one that
    is rolled.
    """
    weights = np.stack([_weights(plan, window, masks) for window in windows])
    layers = []
    for prompt, layer in zip(prompts, weights.swapaxes(0, 1), strict=True):
        shown = np.flatnonzero(layer.any(axis=(1, 2))).tolist()
        if shown:
            held = control and control.of(shown)
            denoiser = _prompt_denoiser(plan, model, prompt, windows[0], held)
            layers.append(_Layer(denoiser, shown, torch.from_numpy(layer[shown, None])))
    return layers[0].denoiser if len(layers) == 1 else _blended(layers)


def walk(
    plan: RenderPlan,
    model: Model,
    denoiser: Denoiser,
    x: Array,
    check: Check,
    steps: Steps,
    *,
    hold: Hold | None = None,
) -> tuple[Tensor, Tensor]:
    """Denoise *x* ``(B, C, H, W)`` down *steps*: the states and the clean predictions.

    Latents stay in float32 between a half precision model's steps, in float64 with a model that
    computes in it.
    """
    carried = torch.float64 if model.dtype is torch.float64 else torch.float32
    start = torch.from_numpy(x).to(carried)
    return denoise(denoiser, start, steps, plan.spec.sampler, check, hold=hold)


def as_array(latents: Tensor) -> Array:
    """*latents* in numpy."""
    return np.asarray(latents.cpu().numpy())


@dataclass(frozen=True, slots=True)
class _Layer:
    """One prompt in a batch of windows."""

    denoiser: Denoiser
    shown: list[int]
    """The windows it counts in."""
    weights: Tensor
    """How much it counts in those, ``(len(shown), 1, h, w)``."""


def _weights(plan: RenderPlan, window: Window, masks: Masks) -> Array:
    """Weight of every prompt in *window*, ``(prompts, h, w)``: zero where it is not evaluated,
    one where it is alone."""
    weights = prompt_weights(plan.spec, window.rows, window.columns, masks)
    shown = weights.max(axis=(1, 2)) > _FAINT
    weights[~shown] = 0.0
    if shown.sum() == 1:
        weights[shown] = 1.0
    return weights


def _prompt_denoiser(
    plan: RenderPlan, model: Model, prompt: Conditioning, window: Window, control: Control | None
) -> Denoiser:
    def rolled(shift: tuple[int, int]) -> Denoiser:
        held = control and control.rolled(shift, plan.latent_scale)
        return guided_denoiser(model, prompt, plan.spec.guidance, held)

    if not (window.closes_rows or window.closes_columns):
        return rolled((0, 0))
    return closed_denoiser(rolled, rows=window.closes_rows, columns=window.closes_columns)


def _blended(layers: list[_Layer]) -> Denoiser:
    """The weighted mean of several prompts' predictions (Bar-Tal et al. 2023, section 4.2)."""

    def predict(x: Tensor, sigma: float, timestep: float) -> Tensor:
        total = torch.zeros_like(x)
        for layer in layers:
            seen = layer.denoiser(x[layer.shown], sigma, timestep)
            total[layer.shown] += seen * layer.weights.to(x)
        return total

    return predict
