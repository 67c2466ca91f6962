"""From an order and its model cards to a plan. Pure: no clock, no machine, no worker count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.card import ModelCard, UpscalerCard
from app.domain.cost import plan_cost
from app.domain.decoding import CORE_LATENTS, plan_decode, plan_encode
from app.domain.editing import Area, with_edit
from app.domain.errors import InvalidPlanError, LimitExceededError
from app.domain.geometry import Box
from app.domain.grid import Grid
from app.domain.layout import base_sides
from app.domain.phases import LAYOUT_DECIDED, plan_phases, tile_grid
from app.domain.plan import Base, Decode, Overview, RenderPlan
from app.domain.schedule import full_steps
from app.domain.spec import Mode, RenderSpec, Wrap

_Behind = tuple[UpscalerCard | None, UpscalerCard | None]
"""Restorer and upscaler: the networks behind the decoder, where a spec has them."""

DIRECT_LIMIT = 4  # a single window of more than 4x the native area repeats its subject


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask of this installation."""

    max_canvas_mpx: float
    max_tiles: int
    max_count: int


def plan_render(
    spec: RenderSpec,
    cards: Mapping[str, ModelCard],
    *,
    upscaler: UpscalerCard | None,
    limits: Limits,
    restorer: UpscalerCard | None = None,
    extras: Mapping[str, str] | None = None,
    area: Area | None = None,
) -> RenderPlan:
    """The plan for *spec*; where an *area* is given, for that part of the picture alone.

    *cards* holds the spec's base and refine models by name; *upscaler* is needed when the spec
    asks for super-resolution, *restorer* when it names one; *extras* are the revisions of its LoRAs
    and control network.
    Raises ``LimitExceededError``, ``UnsupportedError`` or ``InvalidPlanError``.
    """
    card = cards[spec.refine_model]
    _check_spec(spec, card, limits)
    height, width = _canvas(spec, card)
    _check_direct(spec, card, height, width)
    _check_tasks(spec, card, height, width, limits)
    base = _plan_base(spec, cards[spec.base_model]) if _has_base(spec) else None
    phases = plan_phases(spec, card, height, width, from_picture=_starts_from_picture(spec))
    _check_windows(card, *(_largest_window(phase.grid) for phase in phases))
    if base:
        _check_windows(cards[spec.base_model], (base.height, base.width))
    encode = _plan_encode(spec, height, width)
    behind = (restorer, upscaler)
    decode = _plan_decode(spec, card, (height, width), behind, is_part=area is not None)
    if area is not None:
        latent = card.latent_scale * spec.upscale
        canvas = Box(0, 0, height, width)
        phases, decode = with_edit(phases, decode, area, canvas=canvas, latent=latent)
    return RenderPlan(
        spec=spec,
        revisions=_revisions(spec, cards, base, behind) | dict(extras or {}),
        canvas_height=height,
        canvas_width=width,
        latent_scale=card.latent_scale,
        latent_channels=card.latent_channels,
        encoder_padding=card.down_padding if encode and encode.head else card.encoder_padding,
        base=base,
        phases=phases,
        decode=decode,
        cost=plan_cost(spec, card, base, phases, decode),
        encode=encode,
    )


def _has_base(spec: RenderSpec) -> bool:
    """Whether a small picture is painted first."""
    return spec.mode is Mode.REFINE and not spec.starts_from_given


def _starts_from_picture(spec: RenderSpec) -> bool:
    return _has_base(spec) or spec.starts_from_given


def _is_whole(spec: RenderSpec) -> bool:
    """Whether an autoencoder sees the canvas as one, like the network that denoises it."""
    return spec.mode is Mode.DIRECT and spec.wrap is Wrap.NONE


def _plan_encode(spec: RenderSpec, height: int, width: int) -> Overview | None:
    """How the picture to start from becomes latents; none does where those of a render are kept."""
    if not _starts_from_picture(spec) or spec.rerender is not None:
        return None
    return plan_encode(height, width, whole=_is_whole(spec))


def _plan_decode(
    spec: RenderSpec,
    card: ModelCard,
    size: tuple[int, int],
    behind: _Behind,
    *,
    is_part: bool,
) -> Decode:
    """How the canvas of *size* latents becomes pixels; a *part* keeps the colours it has."""
    restorer, upscaler = behind
    is_whole = _is_whole(spec)
    is_near = _starts_from_picture(spec) and spec.nsr < LAYOUT_DECIDED
    return plan_decode(
        card,
        *size,
        upscaler,
        whole=is_whole,
        restorer=restorer,
        anchored=is_near and not is_whole and not is_part,
        tiny=spec.decoder == "tiny",
    )


def _canvas(spec: RenderSpec, card: ModelCard) -> tuple[int, int]:
    """Height and width in latents: the picture's, rounded up to the model's alignment."""
    step = card.latent_scale * card.alignment
    sides = []
    for name, side, wraps in (
        ("height", spec.height, spec.wrap.rows),
        ("width", spec.width, spec.wrap.columns),
    ):
        if wraps and side % (step * spec.upscale):
            raise InvalidPlanError(
                f"{name} must be a multiple of {step * spec.upscale} px where the picture wraps, "
                f"got {side} px"
            )
        sides.append(-(-side // (step * spec.upscale)) * card.alignment)
    return sides[0], sides[1]


def _check_spec(spec: RenderSpec, card: ModelCard, limits: Limits) -> None:
    megapixels = spec.height * spec.width / 1e6
    if megapixels > limits.max_canvas_mpx:
        raise LimitExceededError(
            f"height x width must be at most {limits.max_canvas_mpx:g} megapixels, "
            f"got {megapixels:.1f}"
        )
    if spec.count > limits.max_count:
        raise LimitExceededError(f"count must be at most {limits.max_count}, got {spec.count}")
    step, scale = card.latent_scale * card.alignment, card.latent_scale
    if spec.tile % step or not 8 * scale <= spec.tile <= 4 * card.native_size:
        raise InvalidPlanError(
            f"tile must be a multiple of {step} px in [{8 * scale}, {4 * card.native_size}], "
            f"got {spec.tile} px"
        )
    if card.longest_side is not None and spec.tile > card.longest_side:
        raise InvalidPlanError(
            f"tile must be at most {card.longest_side} px with model {card.name}, "
            f"got {spec.tile} px"
        )
    if spec.overlap % step or not 0 <= spec.overlap < spec.tile:
        raise InvalidPlanError(
            f"overlap must be a multiple of {step} px in [0, {spec.tile}), got {spec.overlap} px"
        )


def _check_direct(spec: RenderSpec, card: ModelCard, height: int, width: int) -> None:
    pixels = height * width * card.latent_scale**2
    if spec.mode is Mode.DIRECT and pixels > DIRECT_LIMIT * card.native_size**2:
        raise LimitExceededError(
            f"mode direct denoises at most {DIRECT_LIMIT * card.native_size**2 / 1e6:.2g} "
            f"megapixels with model {card.name}, got {pixels / 1e6:.2g}; use mode refine"
        )


def _largest_window(grid: Grid) -> tuple[int, int]:
    rows, columns = (
        max(last - first for first, last in axis.spans) for axis in (grid.rows, grid.columns)
    )
    return rows, columns


def _check_windows(card: ModelCard, *windows: tuple[int, int]) -> None:
    """Refuse a window, in latents, that the model has no positions for."""
    longest = max(max(window) for window in windows) * card.latent_scale
    if card.longest_side is not None and longest > card.longest_side:
        raise LimitExceededError(
            f"model {card.name} sees at most {card.longest_side} px a side, "
            f"got a window of {longest} px"
        )


def _plan_base(spec: RenderSpec, card: ModelCard) -> Base:
    """Native area with the canvas's aspect, so that the model sees sizes it was trained on."""
    height, width = base_sides(card, spec.height, spec.width)
    native = card.native_size // card.latent_scale
    if height * width > DIRECT_LIMIT * native**2:
        raise LimitExceededError(
            f"height and width must not differ more: model {card.name} would start from "
            f"{width * card.latent_scale}x{height * card.latent_scale} px, got "
            f"{spec.width}x{spec.height} px"
        )
    return Base(height, width, full_steps(card.schedule, spec.steps, spec.sampler))


def _check_tasks(
    spec: RenderSpec, card: ModelCard, height: int, width: int, limits: Limits
) -> None:
    """Refuse by arithmetic: a million boxes need not be made to be counted."""
    tiles = len(tile_grid(spec, card, height, width))
    cores = math.prod(-(-side // CORE_LATENTS) for side in (height, width))
    units = spec.count * max(tiles, 1 if spec.mode is Mode.DIRECT else cores)
    if units > limits.max_tiles:
        raise LimitExceededError(
            f"a job may have at most {limits.max_tiles} tiles or cores, got {units}"
        )


def _revisions(
    spec: RenderSpec,
    cards: Mapping[str, ModelCard],
    base: Base | None,
    behind: _Behind,
) -> dict[str, str]:
    """Whatever network touches a pixel, with the revision of its weights."""
    restorer, upscaler = behind
    models = {spec.refine_model, spec.base_model} if base else {spec.refine_model}
    revisions = {name: cards[name].revision for name in models}
    if upscaler:
        revisions[upscaler.name] = upscaler.revision
    if restorer:
        revisions[spec.restorer_label] = restorer.revision
    return dict(sorted(revisions.items()))
