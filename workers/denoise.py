"""Denoising in sigma space: ``x = x0 + sigma * noise``, as in Karras et al. 2022.

One walk serves every model: a denoiser maps ``(x, sigma)`` to the predicted clean ``x0``.
Diffusers' schedulers are not used because they keep state and draw their own noise, and a
tile must depend on nothing but its plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from app.domain.errors import DeviceOutOfMemoryError, UnsupportedError
from app.domain.schedule import Sampler, Steps
from workers.loading import Model

Denoiser = Callable[[Tensor, float, int], Tensor]
"""``(x, sigma, timestep) -> x0``, all ``(1, C, H, W)`` float32."""


def guided_denoiser(model: Model, embeddings: Tensor, guidance: float) -> Denoiser:
    """The model with classifier-free guidance (Ho & Salimans 2022).

    *embeddings* ``(2, tokens, features)``: negative prompt, then prompt. At a guidance of 1 or
    less the negative prompt has no effect and is not evaluated.
    """
    is_guided = guidance > 1.0
    text = embeddings.to(model.device, model.dtype)
    text = text if is_guided else text[1:]

    def denoise(x: Tensor, sigma: float, timestep: int) -> Tensor:
        alpha = 1.0 / math.sqrt(1.0 + sigma**2)
        scaled = (x * alpha).to(model.device, model.dtype).expand(len(text), -1, -1, -1)
        try:
            output = model.unet(scaled, timestep, encoder_hidden_states=text).sample.float()
        except torch.OutOfMemoryError as err:
            raise DeviceOutOfMemoryError(
                f"{model.device} has too little memory for {tuple(x.shape[-2:])} latents"
            ) from err
        if is_guided:
            negative, positive = output.chunk(2)
            output = negative + guidance * (positive - negative)
        return _clean(x, output.to(x.device), sigma, model.prediction_type)

    return denoise


def _clean(x: Tensor, output: Tensor, sigma: float, prediction_type: str) -> Tensor:
    """Predicted x0 from the network's *output* for ``x``."""
    match prediction_type:
        case "epsilon":
            return x - sigma * output
        case "v_prediction":  # Salimans & Ho 2022, with alpha = 1 / sqrt(1 + sigma^2)
            return x / (1.0 + sigma**2) - output * (sigma / math.sqrt(1.0 + sigma**2))
        case "sample":
            return output
        case _:
            raise UnsupportedError(
                f"prediction_type must be epsilon, v_prediction or sample, got {prediction_type!r}"
            )


@torch.inference_mode()
def denoise(
    denoiser: Denoiser, x: Tensor, steps: Steps, sampler: Sampler, check: Callable[[], None]
) -> Tensor:
    """Walk *x* ``(1, C, H, W)`` down *steps*; *check* runs before each evaluation and may raise.

    The result is in the model's own scale, where a picture with residual noise ``sigma`` has
    unit variance; for a walk that ends at zero it is the clean picture.
    """
    old: Tensor | None = None
    last_sigma = 0.0
    for timestep, (sigma, following) in zip(steps.timesteps, pairwise(steps.sigmas), strict=True):
        check()
        x0 = denoiser(x, sigma, timestep)
        if sampler == "dpm++2m":
            x = _dpm_step(x, x0, old, last_sigma, sigma, following)
        else:
            x = x + (x - x0) / sigma * (following - sigma)
        old, last_sigma = x0, sigma
    return x / math.sqrt(1.0 + steps.sigmas[-1] ** 2)


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
