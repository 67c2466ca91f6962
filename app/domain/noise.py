"""One infinite field of Gaussian noise, addressed by position.

Every sample is a pure function of ``(seed, stream, channel, y, x)``, so any crop drawn on any
worker is bit-equal to the same crop of the whole field. ``torch.randn`` cannot promise that:
its output depends on the tensor's shape and, on CUDA, on the GPU's number of processors.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from app.domain.geometry import Box

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, the key schedule's increments
_ROUNDS = 10
_WORD = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_STREAMS_PER_IMAGE = 4096

Words = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


class Stream(IntEnum):
    """What a draw is for; equal positions of two streams are independent."""

    INITIAL = 0
    BASE = 8


def noise_field(
    box: Box, channels: int, *, seed: int, stream: Stream, image: int = 0
) -> NDArray[np.float32]:
    """Standard normal noise of *box*, ``(channels, height, width)`` float32.

    *box* lies in canvas latent coordinates, negative ones included; *seed* in ``[0, 2**64)``.
    Evaluated in float64 on the CPU: the integers are exact everywhere and float64 rounding
    differences between math libraries do not survive the rounding to float32.
    """
    rows = np.arange(box.top, box.bottom, dtype=np.int64) & 0xFFFFFFFF
    columns = np.arange(box.left, box.right, dtype=np.int64) & 0xFFFFFFFF
    blocks = np.arange(-(-channels // 4))
    block, y, x = np.meshgrid(blocks, rows, columns, indexing="ij")
    lane = np.full_like(x, image * _STREAMS_PER_IMAGE + stream)
    counter = (x, y, block, lane)
    words = philox4x32(tuple(word.astype(np.uint64) for word in counter), seed)
    quads = np.stack([*_box_muller(words[0], words[1]), *_box_muller(words[2], words[3])], axis=1)
    return quads.reshape(-1, box.height, box.width)[:channels].astype(np.float32)


def philox4x32(counter: Words, seed: int) -> Words:
    """Philox4x32-10: four 32-bit words (held in uint64) per counter, key = *seed*."""
    x0, x1, x2, x3 = counter
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(_ROUNDS):
        product0, product1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            (product1 >> _SHIFT) ^ x1 ^ np.uint64(key[0]),
            product1 & _WORD,
            (product0 >> _SHIFT) ^ x3 ^ np.uint64(key[1]),
            product0 & _WORD,
        )
        key = [(word + weyl) & 0xFFFFFFFF for word, weyl in zip(key, _WEYL, strict=True)]
    return x0, x1, x2, x3


def _box_muller(
    first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Half a unit away from 0 and 1: the logarithm stays finite, the tail ends at 6.8 sigma.
    radius = np.sqrt(-2.0 * np.log((first + 0.5) * 2.0**-32))
    angle = 2.0 * np.pi * ((second + 0.5) * 2.0**-32)
    return radius * np.cos(angle), radius * np.sin(angle)
