"""Bytes that a plan's units read from the store and write to it, before compression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.canvas import (
    band_boxes,
    band_key,
    bands_inside,
    features_number,
    middle_band,
    tiles_inside,
)
from app.domain.anchoring import holds_base
from app.domain.card import HEAD_PADDING, ModelCard
from app.domain.geometry import Box
from app.domain.layout import native_sides
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, image_key
from app.editing import free_number

_FLOAT = 4  # bytes: blobs hold float32
_CHANNELS = 3  # of a pixel


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that a stage moves."""

    written: int = 0
    read: int = 0
    """Whoever does the units, and in whatever order."""
    shared: int = 0
    """Read once by every worker that has a part in it: it keeps them for its next unit."""


@dataclass(frozen=True, slots=True)
class _Move:
    """Of one image; *shared* by key, because what an earlier stage has read is there already."""

    written: int = 0
    read: int = 0
    shared: Mapping[str, int] = field(default_factory=dict)


def traffic(plan: RenderPlan, card: ModelCard) -> dict[Stage, Moved]:
    """What the stages of *plan* move with the refine model of *card*.

    Left out are uploads and the small records beside the blobs: proofs, statistics, headers.
    """
    kept: set[str] = set()
    moved = {}
    for stage, move in _moves(plan, card):
        shared = sum(size for key, size in move.shared.items() if key not in kept)
        kept |= move.shared.keys()
        numbers = (move.written, move.read, shared)
        moved[stage] = Moved(*(plan.spec.count * number for number in numbers))
    return moved


def total(moves: Iterable[Moved]) -> Moved:
    """The sum over stages."""
    rows = [(move.written, move.read, move.shared) for move in moves]
    return Moved(*map(sum, zip(*rows, strict=True)))


def _moves(plan: RenderPlan, card: ModelCard) -> Iterator[tuple[Stage, _Move]]:
    """The stages of one image in order."""
    if plan.base is not None:
        yield Stage.BASE, _Move(written=sum(_base(plan).values()))
    yield Stage.PREPARE, _prepare(plan, card)
    yield Stage.TILE, _tiles(plan, card)
    yield Stage.MERGE, _merges(plan)
    if plan.decode.freezes_statistics:
        yield Stage.HEAD, _head(plan, card)
    yield Stage.CORE, _cores(plan, card)
    yield Stage.PICTURE, _picture(plan)


def _prepare(plan: RenderPlan, card: ModelCard) -> _Move:
    written = sum(_prompts(plan, card).values()) + sum(_colours(plan, card).values())
    start = sum(_canvas(plan, 0, plan.latent_channels).values()) if plan.starts_from_picture else 0
    area = 0
    if plan.is_edit:
        area = sum(_canvas(plan, free_number(plan), 1).values()) + _painted_bytes(plan)
        area += _all_pixels(plan)
    if plan.spec.rerender is not None:
        return _Move(written + start + area, start + _all_pixels(plan))
    return _Move(written + start + area, shared=_base(plan))


def _tiles(plan: RenderPlan, card: ModelCard) -> _Move:
    written, shared = 0, dict(_prompts(plan, card))
    for number, phase in enumerate(plan.phases):
        boxes = [phase.grid.tile(index) for index in phase.indices]
        written += sum(_tile_bytes(plan, number, box) for box in boxes)
        canvases = {number} if number or plan.starts_from_picture else set()
        canvases |= {0} if plan.is_edit or holds_base(plan, number) else set()
        for canvas in canvases:
            shared |= _canvas(plan, canvas, plan.latent_channels, boxes)
        if plan.is_edit:
            shared |= _canvas(plan, free_number(plan), 1, boxes)
    return _Move(written, shared=shared | (_base(plan) if plan.spec.control else {}))


def _merges(plan: RenderPlan) -> _Move:
    read = 0
    for number, phase in enumerate(plan.phases):
        bands = band_boxes(plan) + ([middle_band(plan, number)] if phase.splits_noise else [])
        read += sum(_merged_bytes(plan, number, band) for band in bands)
    canvas = sum(_canvas(plan, 0, plan.latent_channels).values())
    return _Move(len(plan.phases) * canvas, read)


def _merged_bytes(plan: RenderPlan, number: int, band: Box) -> int:
    """What is read to merge one *band*."""
    boxes = [plan.phases[number].grid.tile(index) for index, _ in tiles_inside(plan, number, band)]
    read = sum(_tile_bytes(plan, number, box) for box in boxes)
    if not plan.is_edit:
        return read
    free = sum(sum(_canvas(plan, free_number(plan), 1, [box]).values()) for box in boxes)
    return read + free + _FLOAT * (plan.latent_channels + 1) * band.area


def _head(plan: RenderPlan, card: ModelCard) -> _Move:
    decode, last = plan.decode, len(plan.phases)
    seen = [plan.canvas.padded(HEAD_PADDING, within=plan.reach)] if decode.head else decode.windows
    features = _canvas(plan, features_number(plan), card.feature_channels) if decode.head else {}
    return _Move(sum(features.values()), shared=_canvas(plan, last, plan.latent_channels, seen))


def _cores(plan: RenderPlan, card: ModelCard) -> _Move:
    decode = plan.decode
    padded = [decode.cores[i].padded(decode.padding, within=plan.reach) for i in decode.indices]
    channels = card.feature_channels if decode.head else plan.latent_channels
    canvas = features_number(plan) if decode.head else len(plan.phases)
    pixels = sum(_core_bytes(plan, index) for index in decode.indices)
    over = pixels + _painted_bytes(plan) if plan.is_edit else 0
    return _Move(pixels, over, _canvas(plan, canvas, channels, padded) | _colours(plan, card))


def _picture(plan: RenderPlan) -> _Move:
    """Pasted from all pixels; how good it is, is told by the picture that it started from.

    Its thumbnail and its pyramid are left out.
    """
    picture = _CHANNELS * plan.spec.bits // 8 * plan.picture.area
    return _Move(picture, _all_pixels(plan) + sum(_base(plan).values()))


def _base(plan: RenderPlan) -> dict[str, int]:
    if plan.base is None:
        return {}
    pixels = plan.base.height * plan.base.width * plan.latent_scale**2
    return {Work(Stage.BASE, 0).key(plan): _FLOAT * _CHANNELS * pixels}


def _prompts(plan: RenderPlan, card: ModelCard) -> dict[str, int]:
    numbers = card.prompt_numbers * (1 + len(plan.spec.regions))
    return {image_key(plan, 0, "prompts"): _FLOAT * numbers}


def _colours(plan: RenderPlan, card: ModelCard) -> dict[str, int]:
    """The picture that tiles start from, at the model's own size."""
    if not plan.decode.anchors_colours:
        return {}
    start = plan.base or plan.canvas
    height, width = native_sides(card, start.height, start.width)
    return {image_key(plan, 0, "colours"): _FLOAT * _CHANNELS * height * width}


def _canvas(
    plan: RenderPlan, number: int, channels: int, boxes: Iterable[Box] | None = None
) -> dict[str, int]:
    """The bands of canvas *number*, those alone that are read for *boxes* where any are given."""
    rows = {Box(box.top, 0, box.bottom, 1) for box in boxes or [plan.canvas]}
    bands = {at: band for row in rows for at, band, _ in bands_inside(plan, row)}
    size = _FLOAT * channels
    return {band_key(plan, 0, number, at): size * band.area for at, band in bands.items()}


def _tile_bytes(plan: RenderPlan, number: int, box: Box) -> int:
    kinds = 2 if plan.phases[number].splits_noise else 1
    return _FLOAT * kinds * plan.latent_channels * box.area


def _core_bytes(plan: RenderPlan, core: int) -> int:
    return _CHANNELS * plan.spec.bits // 8 * plan.core_pixels(core).area


def _all_pixels(plan: RenderPlan) -> int:
    """All cores, painted or held."""
    return sum(_core_bytes(plan, core) for core in range(len(plan.decode.cores)))


def _painted_bytes(plan: RenderPlan) -> int:
    """The opacities of painted cores, which are kept as pixels of 8 bits."""
    return sum(_CHANNELS * plan.core_pixels(core).area for core in plan.decode.indices)
