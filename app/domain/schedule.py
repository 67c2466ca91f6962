"""Noise levels of a model and the steps a render takes down them.

``sigma`` is the noise-to-signal ratio (NSR) of Karras et al., "Elucidating the design space of
diffusion-based generative models", 2022: ``x = x0 + sigma * noise``. Strength means different
amounts of noise in different models; NSR means the same in all, those of a flow included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.domain.errors import UnsupportedError

Sampler = Literal["ddim", "euler", "dpm++2m"]
BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]

# A flow starts from noise alone, which has no finite NSR. A tiny model's render differs from
# diffusers' by 2.5e-4 if it starts at 1e4 and by 4e-6, which is float32's own error, at 1e6.
NSR_OF_NOISE = 1e6


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
class FlowSchedule:
    """The straight flow ``(1 - s) * x0 + s * noise`` of a rectified flow model.

    Divided by ``1 - s`` it is ``x0 + sigma * noise`` with ``sigma = s / (1 - s)``. Esser et al.,
    "Scaling rectified flow transformers for high-resolution image synthesis", 2024.
    """

    train_steps: int = 1000
    shift: float = 1.0
    """Moves the steps towards noise, equation 23; larger for more pixels. It is a number of the
    model here, never of the canvas: a tile must not walk by other sigmas than its neighbour."""
    last_time: float = 0.001
    """Time of the last evaluation of a full walk, before the shift."""

    def share(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Noise share ``s`` in ``[0, 1]`` at *time* in ``[0, 1]``, noise at 1."""
        return np.asarray(self.shift * time / (1.0 + (self.shift - 1.0) * time))

    def time(self, sigma: float) -> float:
        """When the flow has the NSR *sigma*."""
        share = sigma / (1.0 + sigma)
        return share / (self.shift - (self.shift - 1.0) * share)


Schedule = NoiseSchedule | FlowSchedule


@dataclass(frozen=True, slots=True)
class Steps:
    """One walk down the noise: evaluate at each timestep, step to the next sigma.

    ``noise_scale`` multiplies the unit noise added to the starting picture.
    """

    timesteps: tuple[int | float, ...]
    sigmas: tuple[float, ...]
    noise_scale: float

    def __len__(self) -> int:
        return len(self.timesteps)

    def split(self, boundaries: Sequence[float]) -> tuple[Steps, ...]:
        """The same walk in parts, each ending at the first sigma not above a boundary."""
        first_below = (
            next(index for index, sigma in enumerate(self.sigmas) if sigma <= boundary)
            for boundary in boundaries
            if self.sigmas[0] > boundary >= self.sigmas[-1]
        )
        edges = sorted({0, *first_below, len(self)})
        return tuple(self._part(start, stop) for start, stop in pairwise(edges))

    def one_by_one(self) -> tuple[Steps, ...]:
        """The same walk, one step at a time."""
        return tuple(self._part(index, index + 1) for index in range(len(self)))

    def _part(self, start: int, stop: int) -> Steps:
        scale = self.noise_scale if start == 0 else 0.0
        return Steps(self.timesteps[start:stop], self.sigmas[start : stop + 1], scale)


def full_steps(schedule: Schedule, steps: int, sampler: Sampler) -> Steps:
    """From pure noise to the picture in *steps* evaluations.

    A flow has one set of steps, those of diffusers' ``FlowMatchEulerDiscreteScheduler``.

    ``ddim`` uses the timesteps of diffusers' ``DDIMScheduler`` ("leading"), so that a picture of
    native size equals ``StableDiffusionPipeline``; the others start at the last timestep
    ("trailing"), which few-step sampling needs (Lin et al., "Common diffusion noise schedules
    and sample steps are flawed", 2023).
    """
    if isinstance(schedule, FlowSchedule):
        walk = _flow_steps(schedule, np.linspace(1.0, schedule.last_time, steps))
        # The flow's noise has unit variance where it starts, which is x / (1 + sigma).
        return replace(walk, noise_scale=_rounded(1.0 + walk.sigmas[0]))
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


def partial_steps(schedule: Schedule, steps: int, *, nsr: float) -> Steps:
    """From a picture with noise of ratio *nsr* back to a picture; *steps* counts a full walk.

    At least four evaluations are made: fewer leave the added noise visible.
    """
    if isinstance(schedule, FlowSchedule):
        first = schedule.time(nsr)
        count = max(4, math.ceil(steps * first))
        return _flow_steps(schedule, first * (1.0 - np.arange(count) / count))
    sigmas = schedule.sigmas()
    start = int(np.argmin(np.abs(sigmas - nsr)))
    count = min(start + 1, max(4, math.ceil(steps * (start + 1) / schedule.train_steps)))
    timesteps = np.round(start * (1.0 - np.arange(count) / count)).astype(int)
    return _steps(timesteps, sigmas, final=0.0, scale=float(sigmas[timesteps[0]]))


def strength_to_nsr(schedule: Schedule, strength: float) -> float:
    """NSR at which diffusers' image-to-image starts for *strength* in ``(0, 1]``."""
    if isinstance(schedule, FlowSchedule):
        return float(_share_to_nsr(schedule.share(np.array(strength))))
    last = schedule.train_steps - 1
    return float(schedule.sigmas()[min(last, max(0, round(strength * last)))])


def _flow_steps(schedule: FlowSchedule, times: NDArray[np.float64]) -> Steps:
    shares = schedule.share(times)
    sigmas = [_rounded(sigma) for sigma in _share_to_nsr(shares)]
    return Steps(
        timesteps=tuple(_rounded(share * schedule.train_steps) for share in shares),
        sigmas=(*sigmas, 0.0),
        noise_scale=sigmas[0],
    )


def _share_to_nsr(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(share / np.maximum(1.0 - share, 1.0 / NSR_OF_NOISE))


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
