"""How a finished canvas is decoded: cores, their padding, and where statistics come from."""

from __future__ import annotations

from app.domain.card import ModelCard, UpscalerCard
from app.domain.plan import Decode
from app.domain.tiling import plan_cores

CORE_LATENTS = (
    64  # a side; the middle attention sees a padded core, its cost is the square of its area
)


def plan_decode(
    card: ModelCard, height: int, width: int, upscaler: UpscalerCard | None, *, whole: bool
) -> Decode:
    core = max(height, width) if whole else CORE_LATENTS
    around = upscaler.padding if upscaler else 0
    padding = card.decoder_padding - (-around // card.latent_scale)
    return Decode(
        cores=tuple(plan_cores(height, width, core=core)),
        padding=padding,
        freeze_statistics=not whole,
    )
