"""From an order and its model cards to a plan. Pure: no clock, no machine, no worker count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.card import ModelCard, UpscalerCard
from app.domain.cost import plan_cost
from app.domain.decoding import CORE_LATENTS, plan_decode
from app.domain.errors import InvalidPlanError, LimitExceededError, UnsupportedError
from app.domain.geometry import Box
from app.domain.plan import Base, Phase, RenderPlan
from app.domain.schedule import full_steps, partial_steps
from app.domain.spec import Mode, RenderSpec
from app.domain.tiling import axis_starts, plan_tiles

DIRECT_LIMIT = 4  # a single window of more than 4x the native area repeats its subject
SUPPORTED_MODES = (Mode.DIRECT, Mode.REFINE)


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
) -> RenderPlan:
    """The plan for *spec*.

    *cards* holds the spec's base and refine models by name; *upscaler* is needed when the spec
    asks for super-resolution.
    Raises ``LimitExceededError``, ``UnsupportedError`` or ``InvalidPlanError``.
    """
    card = cards[spec.refine_model]
    _check_spec(spec, card, limits)
    height, width = (
        -(-side // (card.latent_scale * spec.upscale)) for side in (spec.height, spec.width)
    )
    _check_tasks(spec, card, height, width, limits)
    is_direct = spec.mode is Mode.DIRECT
    has_base = not is_direct and spec.init_image is None
    base = _plan_base(spec, cards[spec.base_model]) if has_base else None
    phase = (_plan_direct if is_direct else _plan_refine)(spec, card, height, width)
    decode = plan_decode(card, height, width, upscaler, whole=is_direct)
    return RenderPlan(
        spec=spec,
        revisions=_revisions(spec, cards, base, upscaler),
        canvas_height=height,
        canvas_width=width,
        latent_scale=card.latent_scale,
        latent_channels=card.latent_channels,
        encoder_padding=card.encoder_padding,
        base=base,
        phases=(phase,),
        decode=decode,
        cost=plan_cost(spec, card, base, phase, decode),
    )


def _check_spec(spec: RenderSpec, card: ModelCard, limits: Limits) -> None:
    if spec.mode not in SUPPORTED_MODES:
        supported = ", ".join(SUPPORTED_MODES)
        raise UnsupportedError(f"mode must be one of auto, {supported}, got {spec.mode}")
    megapixels = spec.height * spec.width / 1e6
    if megapixels > limits.max_canvas_mpx:
        raise LimitExceededError(
            f"height x width must be at most {limits.max_canvas_mpx:g} megapixels, "
            f"got {megapixels:.1f}"
        )
    if spec.count > limits.max_count:
        raise LimitExceededError(f"count must be at most {limits.max_count}, got {spec.count}")
    scale = card.latent_scale
    if spec.tile % scale or not 8 * scale <= spec.tile <= 4 * card.native_size:
        raise InvalidPlanError(
            f"tile must be a multiple of {scale} px in [{8 * scale}, {4 * card.native_size}], "
            f"got {spec.tile} px"
        )
    if spec.overlap % scale or not 0 <= spec.overlap < spec.tile:
        raise InvalidPlanError(
            f"overlap must be a multiple of {scale} px in [0, {spec.tile}), got {spec.overlap} px"
        )


def _plan_base(spec: RenderSpec, card: ModelCard) -> Base:
    """Native area with the canvas's aspect, so that the model sees sizes it was trained on."""
    native = card.native_size // card.latent_scale
    aspect = math.sqrt(spec.height / spec.width)
    # A multiple of 8 latents halves evenly through the UNet's levels.
    height, width = (max(8, round(native * side / 8) * 8) for side in (aspect, 1 / aspect))
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
    tile, overlap = spec.tile // card.latent_scale, spec.overlap // card.latent_scale
    tiles = math.prod(len(axis_starts(side, tile, overlap)) for side in (height, width))
    cores = math.prod(-(-side // CORE_LATENTS) for side in (height, width))
    units = spec.count * (1 if spec.mode is Mode.DIRECT else max(tiles, cores))
    if units > limits.max_tiles:
        raise LimitExceededError(
            f"a job may have at most {limits.max_tiles} tiles or cores, got {units}"
        )


def _plan_direct(spec: RenderSpec, card: ModelCard, height: int, width: int) -> Phase:
    pixels = height * width * card.latent_scale**2
    if pixels > DIRECT_LIMIT * card.native_size**2:
        raise LimitExceededError(
            f"mode direct denoises at most {DIRECT_LIMIT * card.native_size**2 / 1e6:.2g} "
            f"megapixels with model {card.name}, got {pixels / 1e6:.2g}; use mode refine"
        )
    steps = full_steps(card.schedule, spec.steps, spec.sampler)
    return Phase(tiles=(Box(0, 0, height, width),), margin=0, steps=steps)


def _plan_refine(spec: RenderSpec, card: ModelCard, height: int, width: int) -> Phase:
    tile, overlap = spec.tile // card.latent_scale, spec.overlap // card.latent_scale
    tiles = plan_tiles(
        height,
        width,
        tile_height=min(tile, height),
        tile_width=min(tile, width),
        overlap=overlap,
    )
    return Phase(
        tiles=tuple(tiles),
        margin=overlap // 8,  # 3-4 latents at the usual overlaps: the tile's own edge shows there
        steps=partial_steps(card.schedule, spec.steps, nsr=spec.nsr),
    )


def _revisions(
    spec: RenderSpec,
    cards: Mapping[str, ModelCard],
    base: Base | None,
    upscaler: UpscalerCard | None,
) -> dict[str, str]:
    """Whatever network touches a pixel, with the revision of its weights."""
    models = {spec.refine_model, spec.base_model} if base else {spec.refine_model}
    revisions = {name: cards[name].revision for name in models}
    if upscaler:
        revisions[upscaler.name] = upscaler.revision
    return dict(sorted(revisions.items()))
