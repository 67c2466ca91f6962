"""What a picture was made from, and the text other programs read from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import JsonValue

from app.domain.errors import CorruptBlobError

# Request field -> its name in the "parameters" text AUTOMATIC1111's web UI introduced and
# viewers, hubs and ComfyUI understand; in the order that UI writes them.
_A1111_NAMES = {
    "steps": "Steps",
    "sampler": "Sampler",
    "guidance": "CFG scale",
    "seed": "Seed",
    "size": "Size",
    "model": "Model",
    "strength": "Denoising strength",
    "upscale": "Upscale by",
    "mode": "Mode",
}


@dataclass(frozen=True)
class Recipe:
    """Everything needed to render a picture again: *request* is the full request."""

    request: Mapping[str, JsonValue]
    plan_hash: str
    version: str
    image: int = 0
    """Which picture of a batch this is; its noise depends on it."""

    def to_json(self) -> str:
        """One line of pure ASCII, the same for equal recipes whatever the key order."""
        content = {
            "request": dict(self.request),
            "plan_hash": self.plan_hash,
            "version": self.version,
            "image": self.image,
        }
        return json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ``CorruptBlobError`` when *text* is not a recipe."""
        try:
            content = json.loads(text)
            request, plan_hash = content["request"], content["plan_hash"]
            version, image = content["version"], content.get("image", 0)
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise CorruptBlobError(f"a recipe must be JSON as tilechord writes it: {err}") from err
        found = [type(value) for value in (request, plan_hash, version, image)]
        if found != [dict, str, str, int]:
            raise CorruptBlobError("a recipe must hold an object, two strings and a number")
        return cls(request, plan_hash, version, image)

    def parameters_text(self) -> str:
        """The recipe as prompt, negative prompt and one line of settings."""
        lines = [str(self.request.get("prompt") or "")]
        if negative := self.request.get("negative_prompt"):
            lines.append(f"Negative prompt: {negative}")
        values = {**self.request, "size": self._size()}
        settings = [
            f"{name}: {_quoted(values[field])}"
            for field, name in _A1111_NAMES.items()
            if values.get(field) is not None
        ]
        settings += [f"Image: {self.image}"] if self.image else []
        settings += [f"Plan: {self.plan_hash}", f"Version: tilechord {self.version}"]
        lines.append(", ".join(settings))
        # Half a surrogate pair is legal in JSON but in no encoding a file can carry.
        return "\n".join(lines).encode("utf-8", "replace").decode("utf-8")

    def _size(self) -> str | None:
        width, height = self.request.get("width"), self.request.get("height")
        return None if width is None or height is None else f"{width}x{height}"


def _quoted(value: JsonValue) -> str:
    """A setting's value; quoted as JSON where a comma, colon or line break would end it early."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:\n"') else text
