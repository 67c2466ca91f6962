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
# With their overlap tiles are 256 px wide, the layout's usual size: 510 would be a quarter of the
# files, but four times the bytes for a corner of a window.
_TILE_PX, _OVERLAP_PX = 254, 1
_THUMBNAIL_QUALITY = 85
_TILE_QUALITY = 90  # looked at pixel by pixel: from here on libvips keeps full chroma resolution


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
        image = _shrunk(picture).colourspace("srgb")  # 8 of 16 bits
        data = image.write_to_buffer(".jpg", Q=_THUMBNAIL_QUALITY, keep="none")
        return Thumbnail(data, image.height, image.width)


def write_pyramid(picture: Path) -> tuple[Path, list[Path]]:
    """Write a Deep Zoom pyramid beside *picture*: its description, and its JPEG tiles, sorted.

    They are called ``NAME.dzi`` and ``NAME_files/LEVEL/COLUMN_ROW.jpg`` after the picture's stem;
    level 0 is one pixel. Raises ``StorageFullError`` when they cannot be written,
    ``RenderFailedError`` when the file cannot be read.
    """
    target = picture.with_suffix("")
    with _translated("pyramid"):
        _opened(picture).colourspace("srgb").dzsave(
            str(target),
            layout="dz",
            tile_size=_TILE_PX,
            overlap=_OVERLAP_PX,
            suffix=f".jpg[Q={_TILE_QUALITY}]",
            keep="none",
        )
    tiles = sorted(target.with_name(f"{target.name}_files").glob("*/*.jpg"))
    return target.with_suffix(".dzi"), tiles


def _shrunk(picture: Path) -> pyvips.Image:
    sizes = {"height": THUMBNAIL_PX, "size": "down"}
    if _is_jxl(picture):
        return _opened(picture).thumbnail_image(THUMBNAIL_PX, **sizes)
    # Of JPEG and WebP less than all is decoded.
    return pyvips.Image.thumbnail(str(picture), THUMBNAIL_PX, fail_on="truncated", **sizes)


def _opened(picture: Path) -> pyvips.Image:
    if _is_jxl(picture):  # libvips' wheels do not read it
        return jxl.read_image(picture.read_bytes())
    return pyvips.Image.new_from_file(str(picture), access="sequential", fail_on="truncated")


def _is_jxl(picture: Path) -> bool:
    with picture.open("rb") as file:
        return file.read(len(jxl.SIGNATURE)) == jxl.SIGNATURE


@contextmanager
def _translated(view: str) -> Iterator[None]:
    try:
        yield
    except pyvips.Error as err:
        reason = " ".join(str(err).split())
        if "system error" in reason:  # the disk's: the picture was written to it a moment ago
            raise StorageFullError(f"the picture's {view} cannot be written: {reason}") from err
        raise RenderFailedError(f"libvips failed on the picture's {view}: {reason}") from err
