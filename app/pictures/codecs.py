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

# JPEG XL, lossless, effort 1: of the codecs in reach the smallest file below 50 ms a tile.
# 1024x1024 px of photo-like noise, one shared CPU core (size as a share of raw; ms to encode,
# decode): JPEG XL e1 .60; 22, 32 - e2 .57; 68, 53 - JPEG-LS .60; 62, 45 - PNG level 1 .66;
# 88, 22 - QOI .90; 13, 9. Tiles of one job are coded in parallel already: one thread each.


_SAMPLED_PIXELS = 1 << 15
_PALETTE_COLOURS = 4096  # eight times what a palette may have


def encode_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Lossless bytes of ``(H, W, 3)`` uint8 pixels."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InvalidPlanError(
            f"pixels must be (H, W, 3) uint8 and not empty, got {pixels.shape} {pixels.dtype}"
        )
    effort = 1 if _has_many_colours(pixels) else 2
    return bytes(
        imagecodecs.jpegxl_encode(
            np.ascontiguousarray(pixels), effort=effort, lossless=True, numthreads=1
        )
    )


def _has_many_colours(pixels: NDArray[np.uint8]) -> bool:
    """Whether libjxl's fastest effort keeps *pixels*.

    It makes a palette of up to 512 colours, and mixes some of them up: libjxl 0.11.2 lost pixels
    of one in 750 small pictures. Where a sample has more colours there is no palette.
    """
    flat = pixels.reshape(-1, 3)
    sample = flat[:: 1 + len(flat) // _SAMPLED_PIXELS].astype(np.uint32)
    colours = np.unique(sample[:, 0] << 16 | sample[:, 1] << 8 | sample[:, 2])
    return len(colours) > _PALETTE_COLOURS


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
