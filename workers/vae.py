"""Encoding and decoding parts of a canvas so that the parts fit.

GroupNorm averages over everything it sees, so a part decoded alone has another tone than its
neighbour. The statistics are therefore measured once, on a small whole picture, and frozen:
what is left are convolutions, which are exact when the part is padded, and the middle block's
attention, which sees the padded part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

Pixels = NDArray[np.float32]
Statistics = NDArray[np.float32]
"""``(layers, 2, groups)``: mean and variance of each GroupNorm, encoder and decoder apart."""


@torch.inference_mode()
def encode(vae: AutoencoderKL, pixels: Pixels, statistics: Statistics | None = None) -> Pixels:
    """Latents ``(C, H/s, W/s)`` of *pixels* ``(H, W, 3)`` in ``[0, 1]``, scaled for the UNet.

    The distribution's mean is taken, not a sample: encoding draws no noise.
    """
    device = next(vae.parameters()).device
    signal = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None] * 2.0 - 1.0
    with _frozen(vae.encoder, statistics):
        mean = vae.encode(signal).latent_dist.mode()
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    latents = (mean - shift) * vae.config.scaling_factor
    return np.asarray(latents[0].cpu().numpy())


@torch.inference_mode()
def decode(vae: AutoencoderKL, latents: Pixels, statistics: Statistics | None = None) -> Pixels:
    """Pixels ``(H, W, 3)`` in ``[0, 1]`` of *latents* ``(C, H/s, W/s)``."""
    device = next(vae.parameters()).device
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    signal = torch.from_numpy(latents).to(device)[None] / vae.config.scaling_factor + shift
    with _frozen(vae.decoder, statistics):
        decoded = vae.decode(signal).sample
    pixels = (decoded[0] * 0.5 + 0.5).clamp(0.0, 1.0).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.cpu().numpy())


def measure(module: nn.Module, run: Callable[[], object]) -> Statistics:
    """Mean and variance seen by every GroupNorm of *module* while *run* runs."""
    measured: dict[nn.Module, Tensor] = {}

    def record(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        measured[norm] = _group_statistics(inputs[0], norm.num_groups)  # type: ignore[arg-type]

    hooks = [norm.register_forward_pre_hook(record) for norm in _norms(module)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([measured[norm] for norm in _norms(module)]).cpu().numpy()


def _group_statistics(signal: Tensor, groups: int) -> Tensor:
    grouped = signal.double().reshape(groups, -1)
    return torch.stack([grouped.mean(1), grouped.var(1, unbiased=False)]).float()


@contextmanager
def _frozen(module: nn.Module, statistics: Statistics | None) -> Iterator[None]:
    """Let every GroupNorm of *module* use *statistics* instead of its own input's."""
    norms = list(_norms(module)) if statistics is not None else []
    for norm, (mean, variance) in zip(norms, statistics if norms else (), strict=True):  # type: ignore[arg-type]
        norm.forward = _affine(norm, torch.from_numpy(mean), torch.from_numpy(variance))  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _affine(norm: nn.GroupNorm, mean: Tensor, variance: Tensor) -> Callable[[Tensor], Tensor]:
    per_group = norm.num_channels // norm.num_groups
    device = norm.weight.device
    deviation = torch.sqrt(variance.to(device).repeat_interleave(per_group) + norm.eps)
    scale = norm.weight / deviation
    shift = norm.bias - mean.to(device).repeat_interleave(per_group) * scale

    def forward(signal: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (signal.dim() - 2)
        return torch.addcmul(shift.view(shape), signal, scale.view(shape))

    return forward


def _norms(module: nn.Module) -> Iterator[nn.GroupNorm]:
    return (part for part in module.modules() if isinstance(part, nn.GroupNorm))
