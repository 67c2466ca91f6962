"""JPEG XL files: their pixels, and the boxes around them (ISO/IEC 18181-1 and -2)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np
import pyvips

from app.domain.errors import RenderFailedError
from app.pictures.codecs import Pixels

SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
CODESTREAM = b"\xff\x0a"
"""What a file without boxes starts with."""

# Of the README's picture, repeated to 4000x4000 px, one shared CPU core: efforts 2 to 5 gave
# 30.5, 28.5, 28.2 and 28.1 % of the raw size in 120, 289, 658 and 1142 ms per megapixel.
_EFFORT = 3

# Width over height where a codestream's head gives only one of them (18181-1, size header).
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE_BITS = (9, 13, 18, 30)
_SIZE_BYTES = 12  # no size header is longer


def write_picture(file: BinaryIO, pixels: Pixels, boxes: bytes) -> None:
    """Lossless JPEG XL of *pixels* ``(H, W, 3)``, with *boxes* before its codestream.

    The encoder wants all of the picture in memory. Raises ``RenderFailedError`` when it fails.
    """
    try:
        # One thread: each more would cost memory of its own.
        content = imagecodecs.jpegxl_encode(
            pixels, effort=_EFFORT, lossless=True, usecontainer=True, numthreads=1
        )
    except (RuntimeError, ValueError) as err:
        raise RenderFailedError(f"libjxl failed on the picture: {err}") from err
    whole = io.BytesIO(content)
    cut = next(whole.tell() - 8 for kind, _ in read_boxes(whole) if kind == b"jxlc")
    view = memoryview(content)
    for part in (view[:cut], boxes, view[cut:]):
        file.write(part)


def box(kind: bytes, body: bytes) -> bytes:
    """One box with its length."""
    return struct.pack(">I4s", len(body) + 8, kind) + body


def read_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int | None]]:
    """Kind and length of the body of each box, with *file* at that body.

    The last box may say no length: it ends with the file.
    """
    start = 0
    while file.seek(start) == start and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        size = 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            size = 16
        if length and length < size:
            raise ValueError(f"a box of {length} B")
        yield kind, length - size if length else None
        if not length:
            return
        start += length


def read_size(data: bytes) -> tuple[int, int]:
    """Height and width as encoded, before any orientation. Raises ``ValueError``."""
    head = _codestream_head(data)
    if not head.startswith(CODESTREAM):
        raise ValueError("no codestream")
    bits = _Bits(int.from_bytes(head[2:], "little"))
    is_small = bits.take(1)
    height = _side(bits, is_small=is_small)
    if ratio := bits.take(3):
        across, down = _RATIOS[ratio - 1]
        return height, height * across // down
    return height, _side(bits, is_small=is_small)


class _Bits:
    """Bits of a number, the lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


def _side(bits: _Bits, *, is_small: int) -> int:
    if is_small:
        return (bits.take(5) + 1) * 8
    return bits.take(_SIDE_BITS[bits.take(2)]) + 1


def _codestream_head(data: bytes) -> bytes:
    if not data.startswith(SIGNATURE):
        return data[:_SIZE_BYTES]
    file = io.BytesIO(data)
    for kind, _ in read_boxes(file):
        if kind in (b"jxlc", b"jxlp"):
            file.seek(4 if kind == b"jxlp" else 0, 1)  # a part opens with its number
            return file.read(_SIZE_BYTES)
    return b""


def read_picture(data: bytes) -> Pixels:
    """Pixels ``(H, W)`` or ``(H, W, C)`` of one picture, upright. Raises ``ValueError``."""
    try:
        pixels = imagecodecs.jpegxl_decode(data, numthreads=1)
    except RuntimeError as err:
        raise ValueError(str(err)) from err
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3):
        raise ValueError(f"{pixels.shape} {pixels.dtype} is no picture of 8 or 16 bits")
    return np.asarray(pixels)


def read_image(data: bytes) -> pyvips.Image:
    """The same for libvips, which takes an array's 16 bits for 8 unless it is told."""
    image = pyvips.Image.new_from_array(read_picture(data))
    if image.format == "ushort":
        image = image.copy(interpretation="grey16" if image.bands < 3 else "rgb16")
    return image
