"""Autoencoders of Stable Diffusion's topology with few channels and random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from app.cards import write_manifest
from app.model_files import TINY_DECODER

LEVELS, LAYERS = 4, 2


def build_autoencoder(
    *,
    attends: bool = True,
    layers: int = LAYERS,
    seed: int = 0,
    channels: int = 4,
    shift: float | None = None,
) -> AutoencoderKL:
    """Eight pixels per latent, *layers* per block; without its attention if not *attends*.

    Those with a *shift* have no convolution between latents and network, as that of a flow.
    """
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        latent_channels=channels,
        shift_factor=shift,
        use_quant_conv=shift is None,
        use_post_quant_conv=shift is None,
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        layers_per_block=layers,
        norm_num_groups=4,
        mid_block_add_attention=attends,
        scaling_factor=0.5,
    )
    return vae.eval().requires_grad_(False)


KINDS: dict[str, dict[str, Any]] = {
    "4 channels": {},
    "16 channels, shifted": {"channels": 16, "shift": 0.1},
}
"""Stable Diffusion's and a flow's, for ``build_autoencoder``."""


def build_tiny_decoder(
    blocks: tuple[int, ...] = (3, 3, 3, 1), *, channels: int = 4
) -> AutoencoderTiny:
    """TAESD's topology: three convolutions in each of *blocks*, no normalisation."""
    torch.manual_seed(1)
    tiny = AutoencoderTiny(
        latent_channels=channels,
        num_encoder_blocks=(1,) * len(blocks),
        num_decoder_blocks=blocks,
        encoder_block_out_channels=(8,) * len(blocks),
        decoder_block_out_channels=(8,) * len(blocks),
    )
    *layers, last = (part for part in tiny.decoder.modules() if isinstance(part, torch.nn.Conv2d))
    for layer in layers:  # else what it decodes, and all the more what it reaches, is faint
        layer.weight.data *= 1.6
    last.bias.data[:] = 0.5
    return tiny.eval().requires_grad_(False)


def add_tiny_decoder(folder: Path, blocks: tuple[int, ...], *, channels: int = 4) -> None:
    """Put a distilled decoder beside the VAE of the model in *folder*."""
    build_tiny_decoder(blocks, channels=channels).save_pretrained(folder / TINY_DECODER)
    write_manifest(folder)
