"""Low frequencies of a refined picture taken from the picture it was refined from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_DILATIONS = (1, 2, 4, 8, 16)


def anchor_colours(pixels: Pixels, reference: Pixels) -> Pixels:
    """*pixels* ``(H, W, 3)`` with the low frequencies of *reference*, of the same shape.

    The colour fix of StableSR (Wang et al. 2023, arXiv:2305.07015): the remainder of a wavelet
    transform is exchanged. Parts padded by ``COLOUR_PADDING`` pixels come out as in the whole.
    """
    return pixels - _low_pass(pixels - reference)


def _low_pass(pixels: Pixels) -> Pixels:
    """The remainder of an à-trous transform of five levels, binomial kernel, edges repeated."""
    for dilation in _DILATIONS:
        for axis in (0, 1):
            pixels = _smooth(pixels, dilation, axis)
    return pixels


def _smooth(pixels: Pixels, dilation: int, axis: int) -> Pixels:
    length = pixels.shape[axis]
    before, after = (
        np.clip(np.arange(length) + step, 0, length - 1) for step in (-dilation, dilation)
    )
    ends = pixels.take(before, axis) + pixels.take(after, axis)
    return np.asarray(0.5 * pixels + 0.25 * ends)
