"""Smaller views of a finished picture file; memory depends on its width, not its height."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyvips

from app.domain.errors import RenderFailedError, StorageFullError
from app.pictures import jxl

THUMBNAIL_PX = 512
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small baseline JPEG: sRGB, upright, without metadata."""

    data: bytes
    height: int
    width: int


def thumbnail(picture: Path) -> Thumbnail:
    """The picture at *picture*, no side longer than ``THUMBNAIL_PX``; a small one keeps its size.

    Raises ``RenderFailedError`` when the file cannot be read.
    """
    with _translated("thumbnail"):
        image = _shrunk(picture, height=THUMBNAIL_PX, size="down")
        data = image.write_to_buffer(".jpg", Q=_QUALITY, keep="none")
        return Thumbnail(data, image.height, image.width)


def _shrunk(picture: Path, **options: str | int) -> pyvips.Image:
    with picture.open("rb") as file:
        is_jxl = file.read(len(jxl.SIGNATURE)) == jxl.SIGNATURE
    if is_jxl:  # libvips' wheels do not read it
        pixels = pyvips.Image.new_from_array(jxl.read_picture(picture.read_bytes()))
        return pixels.thumbnail_image(THUMBNAIL_PX, **options)
    return pyvips.Image.thumbnail(str(picture), THUMBNAIL_PX, fail_on="truncated", **options)


@contextmanager
def _translated(view: str) -> Iterator[None]:
    try:
        yield
    except pyvips.Error as err:
        reason = " ".join(str(err).split())
        if "system error" in reason:  # the disk's: the picture was written to it a moment ago
            raise StorageFullError(f"the picture's {view} cannot be written: {reason}") from err
        raise RenderFailedError(f"libvips failed on the picture's {view}: {reason}") from err
