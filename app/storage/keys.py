"""What a blob key may look like; every adapter refuses the same ones."""

from __future__ import annotations

import mimetypes
import re

from app.domain.errors import InvalidRequestError

# S3 allows 1024 bytes; half of it leaves room for the prefix of a bucket.
MAX_KEY_CHARS = 512
# A file name has at most 255 bytes on the usual file systems; the folder store adds a suffix.
MAX_SEGMENT_CHARS = 200

# Python knows these from the system's own list, which a container need not have.
_MEDIA_TYPES = {".webp": "image/webp", ".jxl": "image/jxl", ".dzi": "application/xml"}

# A leading dot is refused: it covers "." and "..", and keeps the folder store's own names apart.
_SEGMENT = r"[a-z0-9_-][a-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PREFIX = re.compile(rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?")

# Long keys are hostile or a bug; a message needs only their beginning.
_SHOWN_CHARS = 80


def check_key(key: str) -> str:
    """*key* itself. Raises ``InvalidRequestError`` when it breaks a rule."""
    if len(key) > MAX_KEY_CHARS:
        raise InvalidRequestError(
            f"blob key must have at most {MAX_KEY_CHARS} characters, got {len(key)}"
        )
    if not _KEY.fullmatch(key):
        raise InvalidRequestError(
            "blob key must be segments of [a-z0-9._-] joined by '/', none starting with a dot, "
            f"got {key[:_SHOWN_CHARS]!r}"
        )
    longest = max(len(segment) for segment in key.split("/"))
    if longest > MAX_SEGMENT_CHARS:
        raise InvalidRequestError(
            f"blob key segment must have at most {MAX_SEGMENT_CHARS} characters, got {longest}"
        )
    return key


def check_prefix(prefix: str) -> str:
    """*prefix* itself. Raises ``InvalidRequestError`` when no key can start with it."""
    if len(prefix) > MAX_KEY_CHARS or not _PREFIX.fullmatch(prefix):
        raise InvalidRequestError(
            f"blob prefix must be the beginning of a key, got {prefix[:_SHOWN_CHARS]!r}"
        )
    return prefix


def media_type(key: str) -> str:
    """The MIME type a browser should be told for *key*, by its extension."""
    guess = mimetypes.guess_type(key)[0] or "application/octet-stream"
    return next((kind for end, kind in _MEDIA_TYPES.items() if key.endswith(end)), guess)
