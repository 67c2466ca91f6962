"""Rectangles on a canvas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """Half-open rectangle ``[top, bottom) x [left, right)``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of this box in an ``(H, W, ...)`` array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def scaled(self, factor: int) -> Self:
        """The same rectangle on a grid *factor* times finer."""
        edges = (self.top, self.left, self.bottom, self.right)
        return type(self)(*(edge * factor for edge in edges))

    def padded(self, margin: int, *, within: Box) -> Self:
        """This box grown by *margin* on every side, cut at the edges of *within*."""
        return type(self)(
            max(self.top - margin, within.top),
            max(self.left - margin, within.left),
            min(self.bottom + margin, within.bottom),
            min(self.right + margin, within.right),
        )

    def intersection(self, other: Box) -> Self | None:
        """The part shared with *other*; ``None`` when it is empty."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        if top >= bottom or left >= right:
            return None
        return type(self)(top, left, bottom, right)

    def inside(self, origin: Box) -> Self:
        """This box, given relative to *origin*, in the coordinates of *origin*."""
        return type(self)(
            self.top + origin.top,
            self.left + origin.left,
            self.bottom + origin.top,
            self.right + origin.left,
        )

    def relative_to(self, origin: Box) -> Self:
        """This box in coordinates whose zero is the top-left corner of *origin*."""
        return type(self)(
            self.top - origin.top,
            self.left - origin.left,
            self.bottom - origin.top,
            self.right - origin.left,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a box that wraps around its canvas: where it lies, and where in the box."""

    on_canvas: Box
    in_box: Box


def middle(height: int, width: int, *, aspect: Box) -> Box:
    """The largest box in the middle of *height* x *width* with the aspect of *aspect*."""
    rows = min(height, max(1, round(width * aspect.height / aspect.width)))
    columns = min(width, max(1, round(height * aspect.width / aspect.height)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return Box(top, left, top + rows, left + columns)


def parts(box: Box, canvas: Box) -> Iterator[Part]:
    """*box* cut where it wraps around *canvas*, which starts at zero; one part if it does not."""
    for top, bottom, row in _laps(box.top, box.bottom, canvas.height):
        for left, right, column in _laps(box.left, box.right, canvas.width):
            inside = Box(row, column, row + bottom - top, column + right - left)
            yield Part(Box(top, left, bottom, right), inside)


def _laps(start: int, stop: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Runs of ``[start, stop)`` on a ring: first, last, and distance from *start*."""
    position = start
    while position < stop:
        first = position % length
        run = min(stop - position, length - first)
        yield first, first + run, position - start
        position += run
