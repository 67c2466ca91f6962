"""Cores merged into one picture file; memory depends on the canvas' width, not its height."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyvips

from app.domain.errors import RenderFailedError, StorageFullError
from app.domain.geometry import Box
from app.domain.spec import Depth, PictureFormat
from app.pictures import jxl
from app.pictures.bands import Rows, merged_rows, stored_png
from app.pictures.codecs import PIXEL_TYPES, Pixels
from app.pictures.cover import check_cover
from app.pictures.embedding import (
    append_webp_chunk,
    exif_block,
    jpeg_segments,
    jxl_boxes,
    png_chunks,
)
from app.pictures.formats import check_format
from app.pictures.recipe import Recipe

_BIGTIFF_BYTES = 4_000_000_000  # a classic TIFF ends at 4 GiB; compression may not help
_DEFAULT_QUALITY = 92  # from 90 on libvips keeps full chroma resolution in JPEG
_PNG_HEAD_BYTES = 33  # signature and IHDR; text chunks may follow
_JPEG_HEAD_BYTES = 2  # SOI; without metadata libvips writes no JFIF segment, and EXIF comes first

_Parameter = str | int | bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished file."""

    height: int
    width: int
    format: PictureFormat
    sha256: str
    size_bytes: int


def assemble(
    height: int,
    width: int,
    cores: Sequence[Box],
    load: Callable[[int], Pixels],
    target: Path,
    *,
    format: PictureFormat,  # noqa: A002 - the request's own word
    recipe: Recipe,
    quality: int | None = None,
    depth: Depth = 8,
    progress: Callable[[int, int], None] | None = None,
    observe: Callable[[Pixels], None] | None = None,
) -> Picture:
    """Write the picture *cores* partition to *target*, all of it or nothing.

    *load* gives core *i* as ``(h, w, 3)``, uint8 or uint16 by *depth*, and is called once per core,
    row by row, in other threads, several at once; *progress* hears of every core pasted, of how
    many, and *observe* gets every piece of rows ``(h, W, 3)``, top to bottom, to look at while it
    passes.
    Raises ``InvalidPlanError`` unless the cores cover the canvas exactly once,
    ``CorruptBlobError`` for a core of the wrong shape or depth, and ``StorageFullError`` when
    *target* cannot be written.
    """
    check_format(format, height, width, quality=quality, depth=depth)
    check_cover(height, width, cores)
    rows = merged_rows(width, cores, load, depth=depth, progress=progress)
    if observe is not None:
        rows = _observed(rows, observe)
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        # On the way out with an error too: cores may be on their way to it.
        with closing(rows), scratch.open("x+b") as file:
            if format == "jxl":  # libvips' wheels do not write it
                jxl.write_picture(file, _gathered(height, width, rows, depth), jxl_boxes(recipe))
            else:
                stream = stored_png(height, width, rows, depth=depth)
                _write(stream, file, format, recipe, quality)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
        scratch.replace(target)
    except OSError as err:
        raise StorageFullError(f"picture {target} cannot be written: {err}") from err
    finally:
        scratch.unlink(missing_ok=True)
    return Picture(height, width, format, sha256, size_bytes)


def _observed(rows: Rows, observe: Callable[[Pixels], None]) -> Rows:
    for piece in rows:
        observe(piece)
        yield piece


def _gathered(height: int, width: int, rows: Iterator[Pixels], depth: Depth) -> Pixels:
    canvas: Pixels = np.empty((height, width, 3), PIXEL_TYPES[depth])
    top = 0
    for piece in rows:
        canvas[top : top + len(piece)] = piece
        top += len(piece)
    return canvas


class _Pipe:
    """libvips' view of the stream it reads and the file it writes.

    An exception cannot travel through libvips: the first one is kept, libvips is told to
    stop, and ``_write`` raises it.
    """

    def __init__(self, stream: Iterator[bytes], file: BinaryIO, insert: tuple[int, bytes]) -> None:
        self.error: BaseException | None = None
        self._stream, self._file = stream, file
        self._at, self._inserted = insert
        self._piece = memoryview(b"")

    def read(self, size: int) -> memoryview | None:
        try:
            while not self._piece:
                self._piece = memoryview(next(self._stream))
        except StopIteration:
            return None
        except BaseException as err:
            self.error = self.error or err
            return None
        part, self._piece = self._piece[:size], self._piece[size:]
        return part

    def write(self, block: bytes) -> int:
        def writing() -> int:
            position = self._file.tell()
            if self._inserted and position <= self._at < position + len(block):
                cut = self._at - position
                self._file.write(block[:cut] + self._inserted + block[cut:])
                self._inserted = b""
            else:
                self._file.write(block)
            return len(block)

        return self._guarded(writing)

    def seek(self, offset: int, whence: int) -> int:
        return self._guarded(lambda: self._file.seek(offset, whence))

    def reread(self, size: int) -> bytes:
        return self._file.read(size)

    def _guarded(self, act: Callable[[], int]) -> int:
        try:
            return -1 if self.error else act()
        except BaseException as err:
            self.error = err
            return -1


def _write(
    stream: Iterator[bytes],
    file: BinaryIO,
    picture_format: PictureFormat,
    recipe: Recipe,
    quality: int | None,
) -> None:
    insert = {
        "png": (_PNG_HEAD_BYTES, png_chunks(recipe)),
        "jpeg": (_JPEG_HEAD_BYTES, jpeg_segments(recipe)),
    }.get(picture_format, (0, b""))
    pipe = _Pipe(stream, file, insert)
    source, target = pyvips.SourceCustom(), pyvips.TargetCustom()
    source.on_read(pipe.read)
    target.on_write(pipe.write)
    if picture_format == "tiff":  # the only writer that goes back, to fill in its directory
        target.on_seek(pipe.seek)
        target.on_read(pipe.reread)
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="truncated")
        image = _with_recipe(image.copy(), picture_format, recipe)
        size_bytes = 3 * image.width * image.height * (2 if image.format == "ushort" else 1)
        options = _options(picture_format, quality or _DEFAULT_QUALITY, size_bytes)
        image.write_to_target(target, f".{picture_format}", **options)
        if picture_format == "webp" and pipe.error is None:
            append_webp_chunk(file, recipe)
        file.flush()
    except pyvips.Error as err:
        if pipe.error is None:
            reason = " ".join(str(err).split())
            raise RenderFailedError(f"libvips failed on the picture: {reason}") from err
    if pipe.error is not None:
        raise pipe.error


def _with_recipe(
    image: pyvips.Image, picture_format: PictureFormat, recipe: Recipe
) -> pyvips.Image:
    """TIFF takes the recipe from libvips, WebP the text; the others have it inserted in passing."""
    if picture_format == "webp":
        image.set_type(pyvips.GValue.blob_type, "exif-data", exif_block(recipe))
    if picture_format == "tiff":
        image.set_type(pyvips.GValue.gstr_type, "image-description", recipe.to_json())
    return image


def _options(picture_format: PictureFormat, quality: int, size_bytes: int) -> dict[str, _Parameter]:
    if picture_format == "png":
        # Level 1 writes 25 MP/s but files 1.6 times as large; above 2 nothing shrinks further.
        return {"compression": 2, "filter": "sub", "keep": "none"}
    if picture_format == "jpeg":
        return {"Q": quality, "keep": "none"}
    if picture_format == "webp":
        # Twice the speed of the default effort, 4; files within 3 % of each other.
        return {"Q": quality, "effort": 2, "keep": "exif"}
    bigtiff = size_bytes > _BIGTIFF_BYTES
    return {"compression": "deflate", "predictor": "horizontal", "bigtiff": bigtiff}
