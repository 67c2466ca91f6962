"""Pictures and masks that users send, read without trusting them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from app.domain.errors import InvalidRequestError, LimitExceededError
from app.domain.geometry import middle
from app.domain.plan import RenderPlan

T = TypeVar("T", bound=np.generic)

# ``Image.open`` would try every format it knows, some of which start other programs, and
# its own size check raises or warns at a number that is not this installation's.
_OPENERS: dict[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"RIFF": WebPImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
}

# What Pillow's parsers let through on broken bytes, found by fuzzing.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    AttributeError,
    Image.DecompressionBombError,
)


_FIRST_TURNED = 5  # EXIF orientations from here on lie on their side


@dataclass(frozen=True, slots=True)
class _Upload:
    """One input of a request: its bytes, the field it came in, and the limit on it."""

    data: bytes
    field: str
    max_mpx: float


def read_picture(data: bytes, *, field: str, max_mpx: float) -> NDArray[np.uint8]:
    """An upright picture as ``(H, W, 3)`` uint8; what is transparent becomes white.

    Raises ``InvalidRequestError`` for anything but a whole PNG, JPEG, WebP or TIFF, and
    ``LimitExceededError`` above *max_mpx* megapixels, before any pixel is decoded.
    """
    return np.asarray(_decoded(_Upload(data, field, max_mpx), "RGB", backdrop="white"))


def fitted(plan: RenderPlan, picture: NDArray[T]) -> NDArray[T]:
    """What of a given *picture* ``(H, W, 3)`` tiles of *plan* start from."""
    if plan.spec.init_fit is None:
        return picture
    box = middle(*picture.shape[:2], aspect=plan.canvas)
    return picture[box.window]


def read_mask(data: bytes, *, field: str, max_mpx: float) -> NDArray[np.uint8]:
    """An upright mask as ``(H, W)`` uint8, by its luma; what is transparent becomes 0, outside.

    Raises as ``read_picture`` does.
    """
    return np.asarray(_decoded(_Upload(data, field, max_mpx), "L", backdrop="black"))


def read_size(data: bytes, *, field: str, max_mpx: float) -> tuple[int, int]:
    """Height and width of an upright picture, from its head; no pixel is decoded.

    Raises as ``read_picture`` does.
    """
    upload = _Upload(data, field, max_mpx)
    try:
        with _opened(upload) as picture:
            _check_size(picture, upload)
            is_turned = picture.getexif().get(ExifTags.Base.Orientation, 1) >= _FIRST_TURNED
            return (picture.width, picture.height) if is_turned else picture.size[::-1]
    except _BROKEN as err:
        raise _damaged(upload, err) from err


def _damaged(upload: _Upload, err: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f"{upload.field} must be a whole PNG, JPEG, WebP or TIFF picture, "
        f"got {len(upload.data)} B that break off or are damaged: {err}"
    )


def _decoded(upload: _Upload, mode: str, *, backdrop: str) -> Image.Image:
    try:
        with _opened(upload) as picture:
            _check_size(picture, upload)
            picture.load()
            return _flattened(ImageOps.exif_transpose(_eight_bit(picture)), backdrop).convert(mode)
    except _BROKEN as err:
        raise _damaged(upload, err) from err


def _opened(upload: _Upload) -> ImageFile.ImageFile:
    for magic, opener in _OPENERS.items():
        if upload.data.startswith(magic):
            return opener(io.BytesIO(upload.data))
    raise InvalidRequestError(
        f"{upload.field} must be a PNG, JPEG, WebP or TIFF picture, "
        f"got {len(upload.data)} B that start with {upload.data[:8]!r}"
    )


def _check_size(picture: Image.Image, upload: _Upload) -> None:
    mpx = picture.width * picture.height / 1e6
    if mpx > upload.max_mpx:
        raise LimitExceededError(
            f"{upload.field} must be at most {upload.max_mpx:g} megapixels, "
            f"got {picture.width}x{picture.height} = {mpx:.1f}"
        )


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey down; Pillow's own conversion clips it to white."""
    if not picture.mode.startswith("I"):
        return picture
    scaled = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8))
    scaled.info = picture.info
    return scaled


def _flattened(picture: Image.Image, backdrop: str) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    behind = Image.new("RGBA", picture.size, backdrop)
    return Image.alpha_composite(behind, picture)
