"""What the planner must know of a model; the weights stay with the workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from app.domain.schedule import Sampler, Schedule

Family = Literal["sd", "sdxl", "sd3"]

HEAD_PADDING = 5
"""Latents that the convolutions around a middle block reach: the two of each of its two resnets,
and a decoder's first or an encoder's last."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The facts of one model that decide a plan. Sizes in pixels unless named otherwise."""

    name: str
    revision: str
    """SHA-256 over the manifest of the model's files: other weights make another plan."""
    family: Family
    native_size: int
    latent_scale: int
    """Pixels per latent along one axis."""
    latent_channels: int
    schedule: Schedule
    vae_levels: int
    vae_layers: int
    feature_channels: int = 512
    """Of what the decoder's middle block leaves."""
    prompt_numbers: int = 0
    """Numbers that a prompt and its negative prompt are encoded to."""
    tiny_blocks: tuple[int, ...] = ()
    """Blocks per level of the distilled decoder beside the VAE; empty where there is none."""
    halving: int = 8
    """Latents that a side is a multiple of when it halves evenly through the network's levels."""
    alignment: int = 1
    """Latents that every tile's origin and size are a multiple of; 2 where a model looks at
    patches of 2x2."""
    longest_side: int | None = None
    """Longest side of a window in pixels, where the network's table of positions ends."""
    tile_costs: tuple[tuple[int, float], ...] = ()
    """Tile sizes in pixels that the model paints well, each with the seconds of one step on any
    one machine: only their ratio counts. Empty: the native size alone."""
    memory_gb: float = 0.0
    """What a device must have at least to work with the model: its weights, and as much again as
    a fifth of them for what a step computes, unless the model's folder says otherwise."""
    default_steps: int = 25
    default_guidance: float = 6.0
    default_sampler: Sampler = "dpm++2m"
    default_nsr: float = 0.7
    """Noise a refined tile starts from; below 1.16 they keep its layout."""
    control: str | None = None
    """The control network that holds its tiles to a picture, unless an order says otherwise."""

    @property
    def decoder_padding(self) -> int:
        """Latents around a core that its decoded pixels depend on, the attention left aside."""
        return math.ceil(HEAD_PADDING + self._tail_reach)

    @property
    def tail_padding(self) -> int:
        """Features around a core that its pixels depend on behind the decoder's middle block."""
        return math.ceil(self._tail_reach)

    @property
    def _tail_reach(self) -> float:
        """Receptive field of the upper blocks of diffusers' ``AutoencoderKL`` decoder.

        At each finer level the resnets' convolutions and the upsampler's one, then the output
        convolution; each counts 1/2, 1/4 ... of a latent.
        """
        radius = 0.0
        for level in range(self.vae_levels):
            radius += 2 * (self.vae_layers + 1) / 2.0**level
            if level + 1 < self.vae_levels:
                radius += 1 / 2.0 ** (level + 1)
        return radius + 1 / 2.0 ** (self.vae_levels - 1)

    @property
    def tiny_padding(self) -> int:
        """Latents around a core that its pixels depend on in diffusers' ``AutoencoderTiny``.

        Input convolution, three in each block, and one at the end of a level, which lies behind
        the enlargement to the next.
        """
        finest = len(self.tiny_blocks) - 1
        radius = 1.0
        for level, blocks in enumerate(self.tiny_blocks):
            radius += 3 * blocks / 2.0**level + 1 / 2.0 ** min(level + 1, finest)
        return math.ceil(radius)

    @property
    def encoder_padding(self) -> int:
        """Pixels around a core that its encoded latents depend on, the attention left aside."""
        return self.down_padding + HEAD_PADDING * self.latent_scale

    @property
    def down_padding(self) -> int:
        """Pixels around a core that the encoder's middle block depends on there, whole latents.

        The receptive field of the lower blocks of diffusers' ``AutoencoderKL`` encoder: input
        convolution, at each coarser level the resnets' two and the strided one. That pads below
        and to the right alone, and is where most is seen, from the first pixel of a latent on.
        """
        reach = 1
        for level in range(self.vae_levels):
            reach += 2 * self.vae_layers * 2**level
            if level + 1 < self.vae_levels:
                reach += 2 * 2**level
        beyond = reach - (self.latent_scale - 1)
        return -(-beyond // self.latent_scale) * self.latent_scale


@dataclass(frozen=True, slots=True)
class ControlCard:
    """The facts of a control network: it holds a tile to a picture (Zhang et al. 2023)."""

    name: str
    revision: str
    family: Family
    default_scale: float
    """How closely tiles follow the picture: XL's networks are trained to hold tighter."""


@dataclass(frozen=True, slots=True)
class UpscalerCard:
    """The facts of a super-resolution or restoration network that decide a plan."""

    name: str
    revision: str
    """SHA-256 of its file, or the release it is part of."""
    padding: int
    """Receptive field in pixels of its input: padded by this, parts equal the whole."""
