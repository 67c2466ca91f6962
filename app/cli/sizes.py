"""The size of a picture as typed: both sides, or one of a picture to start from."""

from __future__ import annotations

import re
from pathlib import Path

import typer

_SIZE = re.compile(r"(-?\d{1,9})?[x×](-?\d{1,9})?")
_DEFAULT = (1024, 1024)
_VISIBLE = 0.01  # of a picture's aspect: less is a rounded side


def chosen_size(text: str | None, init: Path | None) -> tuple[int, int]:
    """Width and height of ``2048x1536``; of ``8192x`` and ``x4320`` in the aspect of *init*.

    Without a text it is the size of *init*, or 1024x1024.
    """
    if text is None:
        return _size_of(init) if init else _DEFAULT
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or not (match[1] or match[2]):
        raise typer.BadParameter(
            f"must be WIDTHxHEIGHT such as 2048x1536, got {text[:60]!r}", param_hint="--size"
        )
    if match[1] and match[2]:
        return int(match[1]), int(match[2])
    if init is None:
        raise typer.BadParameter(
            f"must have both sides where no --init has an aspect, got {text[:60]!r}",
            param_hint="--size",
        )
    width, height = _size_of(init)
    if match[1]:
        return int(match[1]), round(int(match[1]) * height / width)
    return round(int(match[2]) * width / height), int(match[2])


def stretch_of(init: Path, width: int, height: int) -> float:
    """How much wider *init* becomes than it is high, in a picture of that size; about 1 is 1."""
    own_width, own_height = _size_of(init)
    stretch = (width * own_height) / (height * own_width)
    return stretch if abs(stretch - 1) >= _VISIBLE else 1.0


def stretch_told(stretch: float) -> str:
    """What is said of a picture that is stretched."""
    return f"stretched in width {stretch:.2f} times; --init-fit crop keeps its aspect"


def _size_of(init: Path) -> tuple[int, int]:
    from app.client import input_size

    height, width = input_size(init)
    return width, height
