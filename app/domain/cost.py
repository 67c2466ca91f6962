"""The work a plan asks for, in units that do not depend on the machine."""

from __future__ import annotations

from app.domain.card import ModelCard
from app.domain.plan import Base, Cost, Decode, Phase
from app.domain.spec import RenderSpec


def plan_cost(
    spec: RenderSpec, card: ModelCard, base: Base | None, phase: Phase, decode: Decode
) -> Cost:
    latent_mpx = card.latent_scale**2 / 1e6
    tile_area = sum(tile.area for tile in phase.tiles)
    canvas_area = sum(core.area for core in decode.cores)
    base_area = base.height * base.width if base else 0
    base_steps = len(base.steps) if base else 0
    guided = 2 if spec.guidance > 1 else 1
    evaluations = guided * (base_steps + len(phase.steps) * len(phase.tiles))
    denoised = guided * (base_area * base_steps + tile_area * len(phase.steps)) * latent_mpx
    latent_bytes = 4 * card.latent_channels * (2 * canvas_area + tile_area + base_area)
    return Cost(
        tiles=spec.count * len(phase.tiles),
        cores=spec.count * len(decode.cores),
        unet_evaluations=spec.count * evaluations,
        denoised_mpx=round(spec.count * denoised, 3),
        decoded_mpx=round(spec.count * (canvas_area + base_area) * latent_mpx, 3),
        overlap_overhead=round(tile_area / canvas_area, 4),
        blob_bytes=spec.count * (latent_bytes + 2 * 3 * spec.height * spec.width),
    )
