"""Autoencoders of Stable Diffusion's topology with few channels and random weights."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

LEVELS, LAYERS = 4, 2


def build_autoencoder(*, attends: bool = True, seed: int = 0) -> AutoencoderKL:
    """Eight pixels per latent, two layers per block; without its attention if not *attends*."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        layers_per_block=LAYERS,
        norm_num_groups=4,
        mid_block_add_attention=attends,
        scaling_factor=0.5,
    )
    return vae.eval().requires_grad_(False)
