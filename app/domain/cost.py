"""The work a plan asks for, in units that do not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.card import ModelCard
from app.domain.plan import Base, Cost, Decode, Phase
from app.domain.spec import RenderSpec


def plan_cost(
    spec: RenderSpec,
    card: ModelCard,
    base: Base | None,
    phases: Sequence[Phase],
    decode: Decode,
) -> Cost:
    """What *count* pictures of this plan take."""
    latent_mpx = card.latent_scale**2 / 1e6
    areas = [_denoised(phase) for phase in phases]
    walked = sum(len(phase.steps) * area for phase, area in zip(phases, areas, strict=True))
    steps = sum(len(phase.steps) for phase in phases)
    canvas_area = sum(core.area for core in decode.cores)
    decoded_area = sum(decode.cores[index].area for index in decode.indices)
    base_area = base.height * base.width if base else 0
    base_steps = len(base.steps) if base else 0
    guided = 2 if spec.guidance > 1 else 1
    evaluations = base_steps + sum(len(phase.steps) * len(phase.indices) for phase in phases)
    # Two kinds of latents leave a tile that is merged clean and not yet at the end.
    stored = sum(
        area * (2 if phase.splits_noise else 1) for phase, area in zip(phases, areas, strict=True)
    )
    latents = (1 + len(phases)) * canvas_area + stored + base_area
    return Cost(
        tiles=spec.count * sum(len(phase.indices) for phase in phases),
        cores=spec.count * len(decode.indices),
        unet_evaluations=spec.count * guided * evaluations,
        denoised_mpx=round(spec.count * guided * (base_area * base_steps + walked) * latent_mpx, 3),
        decoded_mpx=round(spec.count * (decoded_area + base_area) * latent_mpx, 3),
        overlap_overhead=round(walked / steps / canvas_area, 4),
        blob_bytes=spec.count
        * (4 * card.latent_channels * latents + 2 * 3 * spec.bits // 8 * spec.height * spec.width),
    )


def _denoised(phase: Phase) -> int:
    tiles = phase.tiles
    return sum(tiles[index].area for index in phase.indices)
