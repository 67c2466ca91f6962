"""Regions of a picture from the command line: typed, or from a file with all that one can have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from app.domain.errors import InvalidRequestError

_TYPED = re.compile(r"(\d{1,9})[x×](\d{1,9})\+(\d{1,9})\+(\d{1,9})=(.+)", re.DOTALL)
_MOST_BYTES = 10_000_000

Fields = dict[str, Any]


def read_regions(texts: list[str]) -> list[Fields]:
    """Regions of a request from ``512x512+0+256=a calm sea``."""
    regions = []
    for text in texts:
        match = _TYPED.fullmatch(text.strip())
        if match is None:
            raise typer.BadParameter(
                "must be WIDTHxHEIGHT+LEFT+TOP=PROMPT such as 512x512+0+256=sea, "
                f"got {text[:60]!r}",
                param_hint="--region",
            )
        width, height, left, top = (int(match[group]) for group in range(1, 5))
        box = {"top": top, "left": left, "bottom": top + height, "right": left + width}
        regions.append({"prompt": match[5], "box": box})
    return regions


def read_region_file(path: Path) -> list[Fields]:
    """Regions of a request from a JSON list of them; a ``mask`` is a picture file beside *path*.

    What a region may hold is checked with the request. Raises ``InvalidRequestError``.
    """
    try:
        size_bytes = path.stat().st_size
        if not path.is_file() or size_bytes > _MOST_BYTES:
            raise InvalidRequestError(
                f"--regions must be a file of at most {_MOST_BYTES} bytes, {path} is not"
            )
        regions = json.loads(path.read_text("utf-8"))
    except OSError as err:
        reason = err.strerror or err
        raise InvalidRequestError(f"--regions {str(path)!r} cannot be read: {reason}") from err
    except (ValueError, RecursionError) as err:
        raise InvalidRequestError(f"--regions must be a JSON file, {path} is not: {err}") from err
    if not isinstance(regions, list) or not all(isinstance(one, dict) for one in regions):
        raise InvalidRequestError(f"--regions must be a JSON list of regions, {path} is not")
    return [_with_path(region, path.parent) for region in regions]


def with_masks(fields: Fields, key_of: Callable[..., str]) -> Fields:
    """The request's *fields*, in which every region's mask is the key that *key_of* gives it."""
    regions = fields.get("regions")
    if regions is None:
        return fields
    return fields | {
        "regions": [
            region | {"mask": key_of(mask, field=f"regions.{number}.mask")}
            if isinstance(mask := region.get("mask"), Path)
            else region
            for number, region in enumerate(regions)
        ]
    }


def _with_path(region: Mapping[str, Any], folder: Path) -> Fields:
    mask = region.get("mask")
    return dict(region) | ({"mask": folder / mask} if isinstance(mask, str) else {})
