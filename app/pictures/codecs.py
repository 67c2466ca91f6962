"""Bytes of the intermediate blobs: finished pixels and raw arrays."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.domain.errors import CorruptBlobError, InvalidPlanError

Floats = NDArray[np.float32]
"""Or float64, where a test of exactness computes in it: blobs keep the precision they have."""
_FLOATS = (np.float32, np.float64)

# JPEG XL, lossless: of the codecs in reach the smallest files.
# 1024x1024 px of photo-like noise, one shared CPU core (size as a share of raw; ms to encode,
# decode): JPEG XL e1 .60; 22, 32 - e2 .57; 68, 53 - JPEG-LS .60; 62, 45 - PNG level 1 .66;
# 88, 22 - QOI .90; 13, 9. Tiles of one job are coded in parallel already: one thread each.
_EFFORT = 2
"""The fastest, 1, is not lossless in libjxl 0.11.2: one of 230 pictures of noise came back changed,
of sides up to 129 px."""


def encode_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Lossless bytes of ``(H, W, 3)`` uint8 pixels."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InvalidPlanError(
            f"pixels must be (H, W, 3) uint8 and not empty, got {pixels.shape} {pixels.dtype}"
        )
    return bytes(
        imagecodecs.jpegxl_encode(
            np.ascontiguousarray(pixels), effort=_EFFORT, lossless=True, numthreads=1
        )
    )


def decode_pixels(blob: bytes) -> NDArray[np.uint8]:
    """``(H, W, 3)`` uint8 pixels. Raises ``CorruptBlobError`` for anything else."""
    try:
        pixels = imagecodecs.jpegxl_decode(blob, numthreads=1)
    except (RuntimeError, ValueError) as err:
        raise CorruptBlobError(f"a pixel blob must be JPEG XL, got {len(blob)} B: {err}") from err
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise CorruptBlobError(
            f"a pixel blob must hold (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}"
        )
    return np.asarray(pixels, np.uint8)


def encode_array(array: Floats) -> bytes:
    """An array of any shape, float32 or float64, as ``.npy`` bytes."""
    if array.dtype not in _FLOATS:
        raise InvalidPlanError(f"an array blob must be float32 or float64, got {array.dtype}")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode_array(blob: bytes) -> Floats:
    """The array of ``encode_array``. Raises ``CorruptBlobError`` for anything else."""
    buffer = io.BytesIO(blob)
    try:
        array = np.load(buffer, allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, MemoryError) as err:
        raise CorruptBlobError(f"an array blob must be npy, got {len(blob)} B: {err}") from err
    if not isinstance(array, np.ndarray) or array.dtype not in _FLOATS or buffer.read(1):
        raise CorruptBlobError(
            f"an array blob must be one float32 or float64 array, got {len(blob)} B"
        )
    return array
