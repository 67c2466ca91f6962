"""A canvas pasted one band of cores at a time and handed on as a stream of bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from app.domain.errors import CorruptBlobError
from app.domain.geometry import Box
from app.domain.spec import Depth
from app.pictures.codecs import PIXEL_TYPES, Pixels
from app.pictures.embedding import PNG_SIGNATURE, png_chunk
from app.reading import read_ahead

_READERS = 4
"""Cores that are read at once; one of 2048 px has 13 MB, and four times that of 16 bits at 2×."""
_ROWS_PER_CHUNK = 64  # 3 MiB at 16384 px: large for zlib, small beside the band

Rows = Generator[Pixels, None, None]
"""Pieces of a canvas, top to bottom; closing it ends what reads ahead for it."""


def merged_rows(
    width: int,
    cores: Sequence[Box],
    load: Callable[[int], Pixels],
    *,
    depth: Depth = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Rows:
    """The canvas as consecutive ``(rows, width, 3)`` pieces of *depth* bits, top to bottom.

    One band of cores is held at a time, and the cores that are being read; a piece is valid until
    the next one is asked for. *load* is called in several threads.
    """
    bands = _bands(cores)
    rows = max(box.height for box, _ in bands)
    buffer: Pixels = np.empty((rows, width, 3), PIXEL_TYPES[depth])
    done = 0
    for box, members in bands:
        for index, pixels in zip(members, read_ahead(members, load, at_once=_READERS), strict=True):
            core = cores[index]
            buffer[core.relative_to(box).window] = _checked(pixels, core, index, buffer.dtype)
            done += 1
            if progress is not None:
                progress(done, len(cores))
        for top in range(0, box.height, _ROWS_PER_CHUNK):
            yield buffer[top : min(top + _ROWS_PER_CHUNK, box.height)]


def _bands(cores: Sequence[Box]) -> list[tuple[Box, list[int]]]:
    """Cores grouped between the rows that cut none of them."""
    bands: list[tuple[Box, list[int]]] = []
    for index in sorted(range(len(cores)), key=lambda index: cores[index]):
        core = cores[index]
        if not bands or core.top >= bands[-1][0].bottom:
            bands.append((Box(core.top, 0, core.bottom, 0), []))
        box, members = bands[-1]
        bands[-1] = (Box(box.top, 0, max(box.bottom, core.bottom), 0), members)
        members.append(index)
    return bands


def _checked(pixels: Pixels, core: Box, index: int, dtype: np.dtype[Any]) -> Pixels:
    expected = (core.height, core.width, 3)
    if pixels.shape != expected or pixels.dtype != dtype:
        raise CorruptBlobError(
            f"core {index} must be {expected} {dtype}, got {pixels.shape} {pixels.dtype}"
        )
    return pixels


def stored_png(
    height: int, width: int, rows: Iterator[Pixels], *, depth: Depth = 8
) -> Iterator[bytes]:
    """*rows* as an uncompressed PNG (PNG 1.2): the one stream libvips' wheels read row by row.

    Their build has no PPM reader, and a raw file would cost the canvas' size on disk.
    """
    yield PNG_SIGNATURE
    yield png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    deflate, line_bytes = zlib.compressobj(0), 3 * width * depth // 8
    for piece in rows:
        lines = np.zeros((len(piece), 1 + line_bytes), np.uint8)  # each line opens with filter 0
        samples = piece.astype(">u2") if depth == 16 else piece
        lines[:, 1:] = samples.reshape(len(piece), -1).view(np.uint8)
        yield png_chunk(b"IDAT", deflate.compress(lines.data))
    yield png_chunk(b"IDAT", deflate.flush())
    yield png_chunk(b"IEND", b"")
