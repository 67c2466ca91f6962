"""The recipe as bytes inside PNG, JPEG, WebP, JPEG XL and TIFF files, and read back from them.

Pillow is not used to open the files: it refuses or warns at 179 megapixels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.domain.errors import CorruptBlobError, NotFoundError
from app.pictures import jxl
from app.pictures.recipe import Recipe

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEY = "tilechord"
_JPEG_MARK = b"tilechord\0"
_WEBP_CHUNK = b"TCRD"  # readers skip chunks they do not know (RFC 9649, 2.7.1.6)
# Boxes of kind "uuid" are everybody's own (ISO/IEC 14496-12, 4.2); this one was drawn for ours.
_JXL_UUID = UUID("4beae5e6-9c64-44ac-9201-57dc4872876e").bytes
_SEGMENT_BYTES = 65533  # a JPEG segment's 16-bit length counts itself
_EXIF_IFD, _USER_COMMENT, _DESCRIPTION = 0x8769, 0x9286, 0x010E
# Longer texts are cut so that UTF-16 and the EXIF around it fit one JPEG segment.
_MAX_COMMENT_BYTES = 65000
_MAX_RECIPE_BYTES = 16 << 20  # requests are limited to far less


def png_chunks(recipe: Recipe) -> bytes:
    """Text chunks to insert behind IHDR: ``parameters`` and the JSON under ``tilechord``."""
    info = PngInfo()
    info.add_text("parameters", recipe.parameters_text())
    info.add_text(_PNG_KEY, recipe.to_json())
    return b"".join(png_chunk(kind, body) for kind, body, *_ in info.chunks)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with length and checksum (PNG 1.2, 3.2)."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg_segments(recipe: Recipe) -> bytes:
    """An EXIF segment with the text, and comment segments with as much JSON as there is."""
    exif = b"\xff\xe1" + _counted(exif_block(recipe))
    text, room = recipe.to_json().encode(), _SEGMENT_BYTES - len(_JPEG_MARK)
    parts = [text[start : start + room] for start in range(0, len(text), room)]
    return exif + b"".join(b"\xff\xfe" + _counted(_JPEG_MARK + part) for part in parts)


def exif_block(recipe: Recipe) -> bytes:
    """EXIF whose UserComment is the ``parameters`` text, as AUTOMATIC1111 writes JPEG and WebP."""
    comment = recipe.parameters_text().encode("utf-16-be")[:_MAX_COMMENT_BYTES]
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + comment
    return exif.tobytes()


def append_webp_chunk(file: BinaryIO, recipe: Recipe) -> None:
    """Add the JSON to a finished WebP in the extended layout; its EXIF would end at 64 KiB."""
    body = recipe.to_json().encode()
    file.seek(0, 2)
    file.write(struct.pack("<4sI", _WEBP_CHUNK, len(body)) + body + b"\0" * (len(body) % 2))
    size_bytes = file.tell()
    file.seek(4)
    file.write(struct.pack("<I", size_bytes - 8))


def jxl_boxes(recipe: Recipe) -> bytes:
    """An EXIF box with the text, and a box of our own with the JSON."""
    exif = b"\0\0\0\0" + exif_block(recipe).removeprefix(b"Exif\0\0")  # offset of its header
    return jxl.box(b"Exif", exif) + jxl.box(b"uuid", _JXL_UUID + recipe.to_json().encode())


def _counted(body: bytes) -> bytes:
    return struct.pack(">H", len(body) + 2) + body


def read_recipe(path: Path) -> Recipe:
    """The recipe inside a picture file.

    Raises ``NotFoundError`` when there is no file, or no recipe in it, and
    ``CorruptBlobError`` when the file breaks off before it.
    """
    try:
        with path.open("rb") as file:
            text = _recipe_text(file)
    except FileNotFoundError as err:
        raise NotFoundError(f"picture {path} is not there") from err
    except (OSError, struct.error, ValueError, OverflowError) as err:
        raise CorruptBlobError(f"picture {path} must be readable, got {err}") from err
    if text is None:
        raise NotFoundError(f"picture {path} carries no tilechord recipe")
    return Recipe.from_json(text)


def _recipe_text(file: BinaryIO) -> str | None:
    head = file.read(12)
    if head.startswith(PNG_SIGNATURE):
        return _from_png(file)
    if head.startswith(b"\xff\xd8\xff"):
        return _from_jpeg(file)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return _from_webp(file)
    if head == jxl.SIGNATURE:
        return _from_jxl(file)
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _from_tiff(file)
    return None


def _from_png(file: BinaryIO) -> str | None:
    file.seek(8)
    prefix = _PNG_KEY.encode() + b"\0"
    while (header := file.read(8)) and header[4:] != b"IDAT":
        length, kind = struct.unpack(">I4s", header)
        if kind != b"tEXt":
            file.seek(length + 4, 1)
            continue
        body = _read(file, length)
        file.seek(4, 1)
        if body.startswith(prefix):
            return body.removeprefix(prefix).decode("ascii")
    return None


def _from_jpeg(file: BinaryIO) -> str | None:
    file.seek(2)
    parts = [
        body.removeprefix(_JPEG_MARK)
        for kind, body in _jpeg_heads(file)
        if kind == 0xFE and body.startswith(_JPEG_MARK)
    ]
    return b"".join(parts).decode("ascii") if parts else None


def _jpeg_heads(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment up to the start of the scan."""
    while True:
        lead, kind, length = struct.unpack(">BBH", file.read(4))
        if lead != 0xFF or kind == 0xDA:
            return
        yield kind, file.read(length - 2)


def _from_webp(file: BinaryIO) -> str | None:
    while len(header := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", header)
        if kind == _WEBP_CHUNK:
            return _read(file, length).decode("ascii")
        file.seek(length + length % 2, 1)
    return None


def _from_jxl(file: BinaryIO) -> str | None:
    for kind, length in jxl.read_boxes(file):
        if kind == b"uuid" and length is not None and file.read(16) == _JXL_UUID:
            return _read(file, max(0, length - 16)).decode("ascii")
    return None


def _from_tiff(file: BinaryIO) -> str | None:
    """The description of the first directory (TIFF 6.0, section 2; BigTIFF has 8-byte offsets)."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head.startswith(b"II") else ">"
    is_big = head[2:4] in (b"+\0", b"\0+")
    offset, count, entry = ("Q", "Q", "HHQ8s") if is_big else ("I", "H", "HHI4s")
    file.seek(struct.unpack_from(order + offset, head, 8 if is_big else 4)[0])
    (entries,) = struct.unpack(order + count, file.read(struct.calcsize(order + count)))
    for _ in range(entries):
        tag, _, length, value = struct.unpack(
            order + entry, file.read(struct.calcsize(order + entry))
        )
        if tag == _DESCRIPTION:
            if length > len(value):
                file.seek(struct.unpack(order + offset, value)[0])
                value = _read(file, length)
            # Other programs put prose here; a recipe is an object with a plan hash.
            return value.rstrip(b"\0").decode("ascii") if b'"plan_hash"' in value else None
    return None


def _read(file: BinaryIO, size: int) -> bytes:
    """*size* bytes; a damaged length must not become an allocation."""
    if size > _MAX_RECIPE_BYTES:
        raise ValueError(f"a recipe of {size} B, more than {_MAX_RECIPE_BYTES} B")
    return file.read(size)
