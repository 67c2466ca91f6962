"""Bytes of the intermediate blobs: finished pixels and raw arrays."""

from __future__ import annotations

import io
import threading

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.domain.errors import CorruptBlobError, InvalidPlanError
from app.domain.spec import Depth

Floats = NDArray[np.float32]
"""Or float64, where a test of exactness computes in it: blobs keep the precision they have."""
Pixels = NDArray[np.uint8 | np.uint16]
PIXEL_TYPES: dict[Depth, type[np.uint8 | np.uint16]] = {8: np.uint8, 16: np.uint16}
"""By bits a channel."""
_FLOATS = (np.float32, np.float64)
_PARSING = threading.Lock()
"""NumPy parses its header with ``ast``, where Python 3.11 counts the depth of all threads in one
place: two at once raise ``SystemError`` (CPython's issue 106905)."""

# JPEG XL, lossless: of the codecs in reach the smallest files.
# 1024x1024 px of photo-like noise, one shared CPU core (size as a share of raw; ms to encode,
# decode): JPEG XL e1 .60; 22, 32 - e2 .57; 68, 53 - JPEG-LS .60; 62, 45 - PNG level 1 .66;
# 88, 22 - QOI .90; 13, 9. Tiles of one job are coded in parallel already: one thread each.
_EFFORT = 2
"""The fastest, 1, is not lossless in libjxl 0.11.2: one of 230 pictures of noise came back changed,
of sides up to 129 px. Of 4500 of 16 bits none did, at efforts 1 to 3."""


def round_pixels(pixels: Floats, depth: Depth) -> Pixels:
    """*pixels* in ``[0, 1]`` as whole numbers of *depth* bits."""
    dtype = PIXEL_TYPES[depth]
    return np.asarray(np.round(pixels * np.float32(np.iinfo(dtype).max)), dtype)


def upper_bits(pixels: Pixels) -> NDArray[np.uint8]:
    """*pixels* as uint8, rounded."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    return (pixels // 257 + (pixels % 257 > 128)).astype(np.uint8)


def encode_pixels(pixels: Pixels) -> bytes:
    """Lossless bytes of ``(H, W, 3)`` pixels, uint8 or uint16."""
    if not _are_colours(pixels) or pixels.size == 0:
        raise InvalidPlanError(
            "pixels must be (H, W, 3) uint8 or uint16 and not empty, "
            f"got {pixels.shape} {pixels.dtype}"
        )
    return bytes(
        imagecodecs.jpegxl_encode(
            np.ascontiguousarray(pixels), effort=_EFFORT, lossless=True, numthreads=1
        )
    )


def decode_pixels(blob: bytes) -> Pixels:
    """``(H, W, 3)`` pixels, uint8 or uint16. Raises ``CorruptBlobError`` for anything else."""
    try:
        pixels = imagecodecs.jpegxl_decode(blob, numthreads=1)
    except (RuntimeError, ValueError) as err:
        raise CorruptBlobError(f"a pixel blob must be JPEG XL, got {len(blob)} B: {err}") from err
    if not _are_colours(pixels):
        raise CorruptBlobError(
            f"a pixel blob must hold (H, W, 3) uint8 or uint16, got {pixels.shape} {pixels.dtype}"
        )
    return np.asarray(pixels)


def _are_colours(pixels: NDArray[np.generic]) -> bool:
    return pixels.dtype in (np.uint8, np.uint16) and pixels.ndim == 3 and pixels.shape[2] == 3


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
        with _PARSING:
            array = np.load(buffer, allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, MemoryError) as err:
        raise CorruptBlobError(f"an array blob must be npy, got {len(blob)} B: {err}") from err
    if not isinstance(array, np.ndarray) or array.dtype not in _FLOATS or buffer.read(1):
        raise CorruptBlobError(
            f"an array blob must be one float32 or float64 array, got {len(blob)} B"
        )
    return array
