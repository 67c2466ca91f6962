"""Which rule is broken, in our words: pydantic's own text is for its programmers."""

from __future__ import annotations

import math
import re

from pydantic import ValidationError

from app.schemas.parts import CONTROL

# Pydantic names the type where our sentence names the field.
_SUBJECT = re.compile(r"^(Value error, |Input |String |List |Dictionary )")
_SHOWN_CHARS = 60


def sentence(error: ValidationError, *, whole: str = "request") -> str:
    """The first rule of *whole* that *error* tells of, with the field and its value."""
    first = error.errors(include_url=False)[0]
    name = ".".join(_spoken(part) for part in first["loc"]) or whole
    if first["type"] == "extra_forbidden":
        return f"{name} is not a field of a {whole}"
    if first["type"] == "missing":
        return f"{name} is required"
    rule = _SUBJECT.sub("", first["msg"])
    if first["type"] == "value_error" and name == whole:
        return rule
    return f"{name} {rule[0].lower()}{rule[1:]}, got {_shown(first['input'])}"


def _spoken(part: str | int) -> str:
    """One step of the way to a field; the sender chose it where it is the key of a mapping."""
    text = str(part)
    if len(text) > _SHOWN_CHARS:
        return f"{text[:_SHOWN_CHARS]!r}…"
    return repr(text) if CONTROL.search(text) else text


def _shown(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]!r} and {len(value) - _SHOWN_CHARS} more characters"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
