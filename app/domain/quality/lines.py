"""Where seams can be: lines and blend bands of a picture; one 1-D rule for both axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]
"""Half-open interval of one axis; on an axis that wraps it may reach past the end."""


@dataclass(frozen=True, slots=True)
class SeamAxis:
    """One axis of a picture, in pixels; a line at *b* lies between pixel *b* - 1 and pixel *b*."""

    length: int
    joints: tuple[int, ...] = ()
    """Lines between tiles, in order."""
    cuts: tuple[int, ...] = ()
    """Lines between parts that were pasted, and the border where the axis wraps; in order."""
    bands: tuple[Span, ...] = ()
    """Where neighbouring tiles are blended, in order."""
    wraps: bool = False
    """The first pixel follows the last."""
    raster: int = 1
    """All lines are multiples of it. Decoders leave a raster of one latent, JPEG one of 8 px: what
    is usual must be looked up on the same raster."""

    @property
    def lines(self) -> tuple[int, ...]:
        """All lines, in order."""
        return tuple(sorted({*self.joints, *self.cuts}))


@dataclass(frozen=True, slots=True)
class SeamGrid:
    """Lines that cross the whole picture: at ``rows`` horizontal ones, at ``columns`` vertical."""

    rows: SeamAxis
    columns: SeamAxis


def seam_axis(
    length: int,
    spans: Iterable[Span],
    *,
    cuts: Iterable[int] = (),
    margin: int = 0,
    is_hard: bool = False,
    wraps: bool = False,
    latent: int = 1,
) -> SeamAxis:
    """The axis, *length* pixels long, of tiles at *spans* and pasted parts that end at *cuts*.

    All but *length* is in latents of *latent* pixels. The joint of two tiles is the middle of
    what they share; both ends of it when the blend *is_hard*, that is, its weights jump at a
    tile's edge. Blending starts *margin* inside.
    """
    period = -(-length // latent)
    shared = _overlaps(period, sorted(set(spans)), wraps)
    ends = [end for pair in shared for end in pair]
    middles = [(first + last) // 2 for first, last in shared]
    border = [0] if wraps else []
    bands = ((latent * (first + margin), latent * (last - margin)) for first, last in shared)
    return SeamAxis(
        length,
        joints=_placed(length, latent, ends if is_hard else middles, wraps),
        cuts=_placed(length, latent, [*cuts, *border], wraps),
        bands=tuple((first, last) for first, last in bands if first < last),
        wraps=wraps,
        raster=latent,
    )


def _overlaps(period: int, spans: Sequence[Span], wraps: bool) -> list[Span]:
    """What each span shares with the next one; empty where they only touch."""
    first = [(spans[0][0] + period, spans[0][1] + period)] if wraps and len(spans) > 1 else []
    return [(start, max(start, end)) for (_, end), (start, _) in pairwise([*spans, *first])]


def _placed(length: int, latent: int, lines: Iterable[int], wraps: bool) -> tuple[int, ...]:
    """*lines* in pixels, each once; the border of the picture is none unless it wraps."""
    pixels = {latent * line for line in lines}
    if wraps:
        return tuple(sorted({line % length for line in pixels}))
    return tuple(sorted(line for line in pixels if 0 < line < length))
