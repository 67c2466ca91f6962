"""The autoencoder on parts of a canvas, so that the parts fit.

An autoencoder sees the whole picture in two places. GroupNorm averages over it: its statistics
are measured once and frozen, see ``workers.group_norm``. The middle block attends to it: it
works at latent resolution, where a whole canvas of moderate size fits, between a *down* path
(encoder) or a *tail* (decoder) of convolutions, which are exact in parts that are padded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.autoencoders.vae import Decoder, Encoder
from numpy.typing import NDArray
from torch import Tensor

from app.domain.geometry import Box
from workers.group_norm import Statistics, Survey, frozen

Pixels = NDArray[np.float32]
Latents = NDArray[np.float32]
Features = NDArray[np.float32]
"""What the middle block reads (encoder) or writes (decoder), ``(C, h, w)``."""


@torch.inference_mode()
def encode(vae: AutoencoderKL, pixels: Pixels, statistics: Statistics | None = None) -> Latents:
    """Latents ``(C, H/s, W/s)`` of *pixels* ``(H, W, 3)`` in ``[0, 1]``, scaled for the UNet.

    The distribution's mean is taken, not a sample: encoding draws no noise.
    """
    return encode_middle(vae, encode_down(vae, pixels, statistics), statistics)


@torch.inference_mode()
def encode_down(
    vae: AutoencoderKL, pixels: Pixels, statistics: Statistics | None = None
) -> Features:
    """The encoder as far as its middle block: features ``(C, H/s, W/s)`` of *pixels*."""
    with frozen(vae.encoder, statistics):
        return _array(_down(vae, _signal(vae, pixels[None]))[0])


@torch.inference_mode()
def encode_middle(
    vae: AutoencoderKL, features: Features, statistics: Statistics | None = None
) -> Latents:
    """The rest of the encoder: latents of the *features* of a whole picture."""
    with frozen(vae.encoder, statistics):
        mean, _ = _moments(vae, _tensor(vae, features)[None]).chunk(2, dim=1)
    return _array(((mean - _shift(vae)) * vae.config.scaling_factor)[0])


@torch.inference_mode()
def decode(vae: AutoencoderKL, latents: Latents, statistics: Statistics | None = None) -> Pixels:
    """Pixels ``(H, W, 3)`` in ``[0, 1]`` of *latents* ``(C, H/s, W/s)``."""
    return decode_tail(vae, decode_head(vae, latents, statistics), statistics)


@torch.inference_mode()
def decode_head(
    vae: AutoencoderKL, latents: Latents, statistics: Statistics | None = None
) -> Features:
    """The decoder as far as its middle block: features ``(C, h, w)`` of *latents*."""
    with frozen(vae.decoder, statistics):
        return _array(_head(vae, _tensor(vae, latents)[None])[0])


@torch.inference_mode()
def decode_tail(
    vae: AutoencoderKL, features: Features, statistics: Statistics | None = None
) -> Pixels:
    """The rest of the decoder: pixels ``(H, W, 3)`` in ``[0, 1]`` of *features*."""
    with frozen(vae.decoder, statistics):
        decoded = _tail(vae, _tensor(vae, features)[None])
    return _pixels(decoded)


@torch.inference_mode()
def decode_tiny(tiny: AutoencoderTiny, latents: Latents) -> Pixels:
    """Pixels ``(H, W, 3)`` in ``[0, 1]`` by a distilled decoder; it normalises nothing."""
    signal = _tensor(tiny, latents)[None] / tiny.config.scaling_factor + _shift(tiny)
    return _pixels(tiny.decode(signal).sample)


@torch.inference_mode()
def survey_encoder(vae: AutoencoderKL, windows: Sequence[Pixels], rim: int) -> Statistics:
    """The encoder's statistics on equal *windows* ``(H, W, 3)``, *rim* pixels inside them."""
    survey = Survey(vae.encoder, rim=rim / windows[0].shape[1])
    with survey.measuring():
        _moments(vae, _down(vae, _signal(vae, np.stack(windows))))
    return survey.statistics()


@torch.inference_mode()
def survey_decoder(vae: AutoencoderKL, windows: Sequence[Latents], rim: int) -> Statistics:
    """The decoder's statistics on equal *windows* of a canvas, *rim* latents inside them."""
    survey = Survey(vae.decoder, rim=rim / windows[0].shape[-1])
    with survey.measuring():
        _tail(vae, _head(vae, _tensor(vae, np.stack(windows))))
    return survey.statistics()


@torch.inference_mode()
def survey_head(
    vae: AutoencoderKL, latents: Latents, windows: Sequence[Box], rim: int
) -> tuple[Statistics, Features]:
    """The decoder's statistics, and the features that its head makes of a whole canvas.

    The head's statistics are those of all *latents*, the tail's those of *windows* of equal
    size, *rim* latents inside them.
    """
    survey = Survey(vae.decoder)
    with survey.measuring():
        features = _head(vae, _tensor(vae, latents)[None])
        survey.rim = rim / windows[0].width
        _tail(vae, torch.cat([features[(..., *window.window)] for window in windows]))
    return survey.statistics(), _array(features[0])


def _signal(vae: AutoencoderKL, pixels: Pixels) -> Tensor:
    """What the encoder reads, ``(B, 3, H, W)`` in ``[-1, 1]``, of *pixels* ``(B, H, W, 3)``."""
    return _tensor(vae, pixels).permute(0, 3, 1, 2) * 2.0 - 1.0


def _down(vae: AutoencoderKL, signal: Tensor) -> Tensor:
    features: Tensor = vae.encoder.conv_in(signal)
    for block in vae.encoder.down_blocks:
        features = block(features)
    return features


def _moments(vae: AutoencoderKL, features: Tensor) -> Tensor:
    moments = _out(vae.encoder, vae.encoder.mid_block(features))
    return moments if vae.quant_conv is None else vae.quant_conv(moments)


def _head(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    signal = latents / vae.config.scaling_factor + _shift(vae)
    if vae.post_quant_conv is not None:
        signal = vae.post_quant_conv(signal)
    features: Tensor = vae.decoder.mid_block(vae.decoder.conv_in(signal))
    return features


def _tail(vae: AutoencoderKL, features: Tensor) -> Tensor:
    for block in vae.decoder.up_blocks:
        features = block(features)
    return _out(vae.decoder, features)


def _out(network: Encoder | Decoder, signal: Tensor) -> Tensor:
    result: Tensor = network.conv_out(network.conv_act(network.conv_norm_out(signal)))
    return result


def _pixels(decoded: Tensor) -> Pixels:
    return _array((decoded[0] * 0.5 + 0.5).clamp(0.0, 1.0).permute(1, 2, 0))


def _shift(vae: AutoencoderKL | AutoencoderTiny) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0


def _tensor(vae: AutoencoderKL | AutoencoderTiny, array: NDArray[np.float32]) -> Tensor:
    parameter = next(vae.parameters())
    return torch.from_numpy(np.ascontiguousarray(array)).to(parameter.device, parameter.dtype)


def _array(signal: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(signal.cpu().numpy())
