"""The files a picture can be delivered as, and what fits into each."""

from __future__ import annotations

from app.domain.errors import InvalidRequestError, LimitExceededError
from app.domain.spec import PictureFormat

# Sides the formats can express: 16 bit in JPEG, 14 bit in WebP. libvips writes PNG and TIFF
# up to 10 million px a side, far beyond what any plan allows.
MAX_SIDE: dict[PictureFormat, int] = {"jpeg": 65535, "webp": 16383}

# libwebp encodes from memory: 707 MB at 67 megapixels, 819 MB at 79 were measured. This
# keeps it below the 600 MB promised for any picture; the other formats are written by rows.
MAX_WEBP_MPX = 50.0

# libjxl too: 475 MB at 36 megapixels of the README's picture were measured, 576 MB at 49, but of
# noise, which does not shrink, 549 MB at 30 and 600 MB at 36.
MAX_JXL_MPX = 30.0

_MAX_MPX: dict[PictureFormat, float] = {"webp": MAX_WEBP_MPX, "jxl": MAX_JXL_MPX}


def check_format(
    picture_format: PictureFormat, height: int, width: int, *, quality: int | None = None
) -> None:
    """Raises ``LimitExceededError`` for a canvas the format cannot hold."""
    side, limit = max(height, width), MAX_SIDE.get(picture_format)
    if limit is not None and side > limit:
        raise LimitExceededError(
            f"format {picture_format} holds at most {limit} px per side, got {width}x{height} px"
        )
    mpx, max_mpx = height * width / 1e6, _MAX_MPX.get(picture_format)
    if max_mpx is not None and mpx > max_mpx:
        raise LimitExceededError(
            f"format {picture_format} holds at most {max_mpx:g} megapixels, got {mpx:.1f}"
        )
    if quality is not None and not 1 <= quality <= 100:
        raise InvalidRequestError(f"quality must be in [1, 100], got {quality}")
