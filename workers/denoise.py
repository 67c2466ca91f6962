"""Denoising in sigma space: ``x = x0 + sigma * noise``, as in Karras et al. 2022.

One walk serves every model: a denoiser maps ``(x, sigma)`` to the predicted clean ``x0``,
whatever its family was trained to predict. Diffusers' schedulers are not used because they keep
state and draw their own noise, and a tile must depend on nothing but its plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from app.domain.schedule import Sampler, Steps
from workers.families.conditioning import Conditioning
from workers.families.control import Control
from workers.families.model import Model
from workers.faults import free_memory

Denoiser = Callable[[Tensor, float, float], Tensor]
"""``(x, sigma, timestep) -> x0``, all ``(B, C, H, W)`` float32."""
Hold = Callable[[Tensor, float], Tensor]
"""``(x, sigma) -> x`` before a step at ``sigma``, both ``(B, C, H, W)``."""


def guided_denoiser(
    model: Model, conditioning: Conditioning, guidance: float, control: Control | None = None
) -> Denoiser:
    """The model with classifier-free guidance (Ho & Salimans 2022).

    Guided are the predictions of the clean picture: for one ``x`` they are an affine function of
    what the network puts out, so this is guidance of noise or velocity too. At a guidance of 1
    or less the negative prompt has no effect and is not evaluated.
    """
    is_guided = guidance > 1.0
    rows = conditioning if is_guided else conditioning.without_negative()
    parts = [rows.to(model.device, model.dtype)]

    def predict(x: Tensor, sigma: float, timestep: float) -> Tensor:
        clean = [model.predict(x, sigma, timestep, part, control) for part in parts]
        return clean[0] if len(clean) == 1 else torch.cat(clean)

    def denoise(x: Tensor, sigma: float, timestep: float) -> Tensor:
        seen = x.to(model.device)
        try:
            clean = predict(seen, sigma, timestep)
        except (torch.OutOfMemoryError, MemoryError) as err:
            if len(parts) > 1 or not is_guided:
                raise
            free_memory(err)
            parts[:] = parts[0].apart()  # from now on one prompt at a time, in half the memory
            clean = predict(seen, sigma, timestep)
        clean = clean.to(x.device)
        if not is_guided:
            return clean
        negative, positive = clean.chunk(2)
        return negative + guidance * (positive - negative)

    return denoise


@torch.inference_mode()
def denoise(
    denoiser: Denoiser,
    x: Tensor,
    steps: Steps,
    sampler: Sampler,
    check: Callable[[], None],
    *,
    hold: Hold | None = None,
) -> tuple[Tensor, Tensor]:
    """Walk *x* ``(B, C, H, W)`` down *steps*; *check* runs before each evaluation and may raise,
    and *hold* may move ``x``.

    Returns ``x`` at the last sigma, and the last prediction of the clean ``x0``.
    """
    old: Tensor | None = None
    last_sigma = 0.0
    x0 = x
    for timestep, (sigma, following) in zip(steps.timesteps, pairwise(steps.sigmas), strict=True):
        check()
        if hold is not None:
            x = hold(x, sigma)
        x0 = denoiser(x, sigma, timestep)
        if sampler == "dpm++2m":
            x = _dpm_step(x, x0, old, last_sigma, sigma, following)
        else:
            # Not x + (x - x0) / sigma * (following - sigma): where a flow starts, both terms
            # are a million and their difference is what is looked for.
            x = following / sigma * x + (1.0 - following / sigma) * x0
        old, last_sigma = x0, sigma
    return x, x0


def at_unit_variance(x: Tensor, sigma: float) -> Tensor:
    """*x* in the model's own scale, where a picture with residual noise *sigma* has unit
    variance; for a walk that ends at zero it is the clean picture."""
    return x / math.sqrt(1.0 + sigma**2)


def closed_denoiser(
    rolled: Callable[[tuple[int, int]], Denoiser], *, rows: bool, columns: bool
) -> Denoiser:
    """A denoiser for a canvas whose ends meet in rows, columns or both.

    *rolled* gives the denoiser for the canvas rolled by so many latents.
    The network treats the canvas's ends as borders. So it also sees the canvas rolled by half,
    where those ends lie in the middle, and each prediction counts where it is far from a border.
    """
    turns = [
        (row, column)
        for row in ((0, 1) if rows else (0,))
        for column in ((0, 1) if columns else (0,))
    ]

    denoiser_at = lru_cache(maxsize=len(turns))(rolled)

    def denoise_ring(x: Tensor, sigma: float, timestep: float) -> Tensor:
        height, width = x.shape[-2:]
        total = torch.zeros_like(x)
        for row, column in turns:
            shift = (row * (height // 2), column * (width // 2))
            seen = denoiser_at(shift)(x.roll(shift, (-2, -1)), sigma, timestep)
            weight = torch.outer(_inner(height, rows), _inner(width, columns))
            back = (-shift[0], -shift[1])
            total += (seen * weight.to(seen)).roll(back, (-2, -1))
        return total

    return denoise_ring


def _inner(length: int, wraps: bool) -> Tensor:
    """Zero at both ends, one in the middle; with itself rolled by half it sums to one."""
    if not wraps:
        return torch.ones(length)
    position = (torch.arange(length) + 0.5) / length
    return torch.sin(math.pi * position) ** 2


def _dpm_step(
    x: Tensor, x0: Tensor, old: Tensor | None, last: float, sigma: float, following: float
) -> Tensor:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2; first order on the first and last step."""
    if following == 0.0:
        return x0
    step = math.log(sigma / following)
    if old is not None:
        ratio = math.log(last / sigma) / step
        x0 = x0 + (x0 - old) / (2.0 * ratio)
    return following / sigma * x - math.expm1(-step) * x0
