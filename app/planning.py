"""From a request to a plan: fills in the model's defaults, then asks the planner."""

from __future__ import annotations

from app.cards import Catalogue
from app.domain.card import ModelCard
from app.domain.errors import InvalidRequestError, LimitExceededError, UnsupportedError
from app.domain.plan import RenderPlan
from app.domain.planner import Limits, plan_render
from app.domain.schedule import strength_to_nsr
from app.domain.spec import Mode, RenderSpec
from app.schemas import RenderRequest
from app.settings import Settings

# Receptive field of each super-resolution model in its input's pixels; a test computes it
# from the module and compares.
UPSCALE_PADDING = {"realesr-animevideov3": 18}
DEFAULT_UPSCALER = "realesr-animevideov3"


def plan_request(request: RenderRequest, catalogue: Catalogue, settings: Settings) -> RenderPlan:
    """The plan of *request* in this installation."""
    _refuse_what_is_not_there_yet(request)
    _check_limits(request, settings)
    spec = to_spec(request, catalogue, settings)
    cards = {name: catalogue.card(name) for name in {spec.base_model, spec.refine_model}}
    limits = Limits(settings.max_canvas_mpx, settings.max_tiles, settings.max_count)
    padding = UPSCALE_PADDING[spec.upscaler] if spec.upscale > 1 else 0
    return plan_render(spec, cards, upscale_padding=padding, limits=limits)


def to_spec(request: RenderRequest, catalogue: Catalogue, settings: Settings) -> RenderSpec:
    """*request* with every default filled in."""
    model = request.model or settings.model
    refine = request.models.refine or model
    card = catalogue.card(refine)
    upscaler = request.models.upscale or DEFAULT_UPSCALER
    if upscaler not in UPSCALE_PADDING:
        known = ", ".join(UPSCALE_PADDING)
        raise InvalidRequestError(f"models.upscale must be one of {known}, got {upscaler!r}")
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
        mode=_mode(request, card),
        nsr=_nsr(request, card),
        tile=request.tile or card.native_size,
        overlap=_overlap(request, card),
        upscale=request.upscale,
        base_model=request.models.base or model,
        refine_model=refine,
        upscaler=upscaler,
        init_image=request.init_image,
        format=request.format,
        tags=dict(sorted(request.tags.items())),
    )


def _mode(request: RenderRequest, card: ModelCard) -> Mode:
    if request.mode == "direct" and request.init_image is not None:
        raise InvalidRequestError("mode direct takes no init_image; use mode refine")
    if request.mode != "auto":
        return Mode(request.mode)
    longest = max(request.height, request.width) / request.upscale
    fits = longest <= card.native_size and request.init_image is None
    return Mode.DIRECT if fits else Mode.REFINE


def _nsr(request: RenderRequest, card: ModelCard) -> float:
    if request.strength is not None:
        return strength_to_nsr(card.schedule, request.strength)
    return card.default_nsr if request.nsr is None else float(request.nsr)


def _overlap(request: RenderRequest, card: ModelCard) -> int:
    if request.overlap is not None:
        return request.overlap
    quarter = (request.tile or card.native_size) // 4
    return quarter // card.latent_scale * card.latent_scale


def _check_limits(request: RenderRequest, settings: Settings) -> None:
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(request, name))
        if length > settings.max_prompt_chars:
            raise LimitExceededError(
                f"{name} must have at most {settings.max_prompt_chars} characters, got {length}"
            )


def _refuse_what_is_not_there_yet(request: RenderRequest) -> None:
    for name, is_asked in (
        ("mask", request.mask is not None),
        ("wrap", request.wrap != "none"),
        ("regions", bool(request.regions)),
    ):
        if is_asked:
            raise UnsupportedError(f"{name} is not supported yet; leave it out")
