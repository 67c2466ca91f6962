"""The x8 autoencoder: its shape, its losses and its training loop."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool2d

from workers.models.atlas_training.earth import Earth, random_crop
from workers.models.atlas_training.optimiser import Optimiser

CROP = 64
BATCH = 8
# Compression 12:1, like four channels at x4, with a quarter of the latent positions to denoise.
LATENT_CHANNELS = 16
KL_WEIGHT = 2e-4


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder of the bundled model's shape."""
    return AutoencoderKL(
        block_out_channels=(24, 48, 96, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=128,
    )


def pixel_batch(earth: Earth, rng: np.random.Generator, *, count: int, size: int) -> Tensor:
    """Random crops, ``(count, 3, size, size)`` float32 in ``[-1, 1]``."""
    crops = [random_crop(earth, rng, size).pixels for _ in range(count)]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous() * 2 - 1


def train_autoencoder(
    model: AutoencoderKL,
    earth: Earth,
    optimiser: Optimiser,
    *,
    progress: Callable[[], float],
    seed: int,
) -> Iterator[dict[str, float]]:
    """Train until *progress* reaches one; yields the losses of every step."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    while (done := progress()) < 1:
        pixels = pixel_batch(earth, rng, count=BATCH, size=CROP)
        posterior = model.encode(pixels).latent_dist
        rebuilt = model.decode(posterior.sample()).sample
        losses = reconstruction_losses(rebuilt, pixels)
        losses["kl"] = KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        optimiser.step(done)
        yield {name: float(value.detach()) for name, value in losses.items()}


def reconstruction_losses(rebuilt: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    """Colour, edges and texture energy of *rebuilt* against *pixels*, ``(N, 3, H, W)``.

    The texture term matches the local gradient energy without caring where each speck is, which
    is what a mean or median of possible textures loses.
    """
    losses = {"l1": (rebuilt - pixels).abs().mean()}
    edges = [(_differences(rebuilt, axis), _differences(pixels, axis)) for axis in (2, 3)]
    losses["gradient"] = torch.stack([(a - b).abs().mean() for a, b in edges]).sum() * 0.5
    energy = [(_energy(a), _energy(b)) for a, b in edges]
    losses["texture"] = torch.stack([(a - b).abs().mean() for a, b in energy]).sum() * 0.35
    return losses


def _differences(pixels: Tensor, axis: int) -> Tensor:
    return torch.diff(pixels, dim=axis)


def _energy(edges: Tensor) -> Tensor:
    return (avg_pool2d(edges.square(), 8, 4, ceil_mode=True) + 1e-5).sqrt()
