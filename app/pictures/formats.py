"""The files a picture can be delivered as, and what fits into each."""

from __future__ import annotations

from app.domain.errors import InvalidRequestError, LimitExceededError
from app.domain.spec import Depth, PictureFormat

# Sides the formats can express: 16 bit in JPEG, 14 bit in WebP. libvips writes PNG and TIFF
# up to 10 million px a side, far beyond what any plan allows.
MAX_SIDE: dict[PictureFormat, int] = {"jpeg": 65535, "webp": 16383}

_DEEP: tuple[PictureFormat, ...] = ("png", "jxl", "tiff")
"""Formats with 16 bits a channel."""

# libwebp encodes from memory: 707 MB at 67 megapixels, 819 MB at 79 were measured. This
# keeps it below the 600 MB promised for any picture; the other formats are written by rows.
MAX_WEBP_MPX = 50.0

# libjxl too: 475 MB at 36 megapixels of the README's picture were measured, 576 MB at 49, but of
# noise, which does not shrink, 549 MB at 30 and 600 MB at 36.
# With 16 bits 509 MB at 15 megapixels of noise and 586 MB at 20.
MAX_JXL_MPX = {8: 30.0, 16: 15.0}


def check_format(
    picture_format: PictureFormat,
    height: int,
    width: int,
    *,
    quality: int | None = None,
    depth: Depth = 8,
) -> None:
    """Raises ``LimitExceededError`` for a canvas the format cannot hold.

    And ``InvalidRequestError`` for a *quality* or *depth* it does not have.
    """
    if depth == 16 and picture_format not in _DEEP:
        raise InvalidRequestError(
            f"depth 16 needs format {', '.join(_DEEP[:-1])} or {_DEEP[-1]}, got {picture_format}"
        )
    side, limit = max(height, width), MAX_SIDE.get(picture_format)
    if limit is not None and side > limit:
        raise LimitExceededError(
            f"format {picture_format} holds at most {limit} px per side, got {width}x{height} px"
        )
    mpx, max_mpx = height * width / 1e6, _max_mpx(picture_format, depth)
    bits = " of 16 bits" if depth == 16 else ""
    if max_mpx is not None and mpx > max_mpx:
        raise LimitExceededError(
            f"format {picture_format} holds at most {max_mpx:g} megapixels{bits}, got {mpx:.1f}"
        )
    if quality is not None and not 1 <= quality <= 100:
        raise InvalidRequestError(f"quality must be in [1, 100], got {quality}")


def _max_mpx(picture_format: PictureFormat, depth: Depth) -> float | None:
    """What an encoder that wants the whole picture in memory is given."""
    if picture_format == "jxl":
        return MAX_JXL_MPX[depth]
    return MAX_WEBP_MPX if picture_format == "webp" else None
