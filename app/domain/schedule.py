"""Noise levels of a model and the steps a render takes down them.

``sigma`` is the noise-to-signal ratio (NSR) of Karras et al., "Elucidating the design space of
diffusion-based generative models", 2022: ``x = x0 + sigma * noise``. Strength means different
amounts of noise in different models; NSR means the same in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import UnsupportedError

Sampler = Literal["ddim", "euler", "dpm++2m"]
BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """The forward process a model was trained on, as in its scheduler's configuration."""

    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: BetaSchedule = "scaled_linear"
    steps_offset: int = 1
    set_alpha_to_one: bool = False

    def sigmas(self) -> NDArray[np.float64]:
        """NSR of every training timestep, ``(train_steps,)``, rising."""
        alphas = np.cumprod(1.0 - self._betas())
        return np.asarray(np.sqrt((1.0 - alphas) / alphas))

    def _betas(self) -> NDArray[np.float64]:
        if self.beta_schedule == "linear":
            return np.linspace(self.beta_start, self.beta_end, self.train_steps)
        if self.beta_schedule == "scaled_linear":
            return np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.train_steps) ** 2
        if self.beta_schedule == "squaredcos_cap_v2":
            time = np.arange(self.train_steps + 1) / self.train_steps
            alpha_bar = np.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
            return np.asarray(np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999))
        raise UnsupportedError(f"beta_schedule is not known, got {self.beta_schedule!r}")


@dataclass(frozen=True, slots=True)
class Steps:
    """One walk down the noise: evaluate at each timestep, step to the next sigma.

    ``noise_scale`` multiplies the unit noise added to the starting picture.
    """

    timesteps: tuple[int, ...]
    sigmas: tuple[float, ...]
    noise_scale: float

    def __len__(self) -> int:
        return len(self.timesteps)


def full_steps(schedule: NoiseSchedule, steps: int, sampler: Sampler) -> Steps:
    """From pure noise to the picture in *steps* evaluations.

    ``ddim`` uses the timesteps of diffusers' ``DDIMScheduler`` ("leading"), so that a picture of
    native size equals ``StableDiffusionPipeline``; the others start at the last timestep
    ("trailing"), which few-step sampling needs (Lin et al., "Common diffusion noise schedules
    and sample steps are flawed", 2023).
    """
    if sampler == "ddim":
        stride = schedule.train_steps // steps
        timesteps = np.arange(steps)[::-1] * stride + schedule.steps_offset
    else:
        spaced = np.arange(schedule.train_steps, 0, -schedule.train_steps / steps)[:steps]
        timesteps = np.round(spaced).astype(int) - 1
    timesteps = np.minimum(timesteps, schedule.train_steps - 1)
    sigmas = schedule.sigmas()
    ends_clean = sampler != "ddim" or schedule.set_alpha_to_one
    final = 0.0 if ends_clean else float(sigmas[0])
    return _steps(timesteps, sigmas, final=final, scale=math.hypot(1.0, sigmas[timesteps[0]]))


def partial_steps(schedule: NoiseSchedule, steps: int, *, nsr: float) -> Steps:
    """From a picture with noise of ratio *nsr* back to a picture; *steps* counts a full walk.

    At least four evaluations are made: fewer leave the added noise visible.
    """
    sigmas = schedule.sigmas()
    start = int(np.argmin(np.abs(sigmas - nsr)))
    count = min(start + 1, max(4, math.ceil(steps * (start + 1) / schedule.train_steps)))
    timesteps = np.round(start * (1.0 - np.arange(count) / count)).astype(int)
    return _steps(timesteps, sigmas, final=0.0, scale=float(sigmas[timesteps[0]]))


def strength_to_nsr(schedule: NoiseSchedule, strength: float) -> float:
    """NSR at which diffusers' image-to-image starts for *strength* in ``(0, 1]``."""
    last = schedule.train_steps - 1
    return float(schedule.sigmas()[min(last, max(0, round(strength * last)))])


def _steps(
    timesteps: NDArray[np.int_], sigmas: NDArray[np.float64], *, final: float, scale: float
) -> Steps:
    return Steps(
        timesteps=tuple(int(t) for t in timesteps),
        sigmas=(*(_rounded(sigmas[t]) for t in timesteps), _rounded(final)),
        noise_scale=_rounded(scale),
    )


def _rounded(value: float) -> float:
    """Nine significant digits: math libraries may differ in the last bits, plans may not."""
    return float(f"{value:.9g}")
