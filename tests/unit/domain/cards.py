"""Model cards and orders for the planner's tests."""

from dataclasses import replace

from app.domain.card import ModelCard, UpscalerCard
from app.domain.plan import RenderPlan
from app.domain.planner import Limits, plan_render
from app.domain.schedule import NoiseSchedule
from app.domain.spec import Mode, RenderSpec

LIMITS = Limits(max_canvas_mpx=300, max_tiles=2000, max_count=1000)

SD15 = ModelCard(
    name="sd15",
    revision="0" * 64,
    family="sd",
    native_size=512,
    latent_scale=8,
    latent_channels=4,
    schedule=NoiseSchedule(),
    vae_levels=4,
    vae_layers=2,
)

SPEC = RenderSpec(
    prompt="a map",
    negative_prompt="",
    height=1536,
    width=2048,
    count=1,
    seed=7,
    steps=20,
    guidance=6.0,
    sampler="ddim",
    mode=Mode.REFINE,
    nsr=0.7,
    tile=512,
    overlap=128,
    upscale=1,
    base_model="sd15",
    refine_model="sd15",
    upscaler="realesr-animevideov3",
    init_image=None,
    format="png",
)


def plan(
    card: ModelCard = SD15,
    limits: Limits = LIMITS,
    restorer_padding: int = 5,
    **changes: object,
) -> RenderPlan:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    upscaler = UpscalerCard("realesr-animevideov3", "1", 18) if spec.upscale > 1 else None
    restorer = UpscalerCard(spec.restore, "2", restorer_padding) if spec.restore else None
    cards = {"sd15": card}
    return plan_render(spec, cards, upscaler=upscaler, limits=limits, restorer=restorer)
