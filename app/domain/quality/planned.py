"""Where a plan has seams and tiles in its finished picture."""

from __future__ import annotations

from app.domain.geometry import Box
from app.domain.grid import Axis, Blend
from app.domain.plan import RenderPlan
from app.domain.quality.lines import SeamAxis, SeamGrid, seam_axis


def seams_of(plan: RenderPlan) -> SeamGrid:
    """Lines between the tiles of the last phase and between cores.

    The last phase alone: what an earlier one left at its seams, later ones have painted over.
    """
    grid, cores, picture = plan.phases[-1].grid, plan.decode.cores, plan.picture
    return SeamGrid(
        _planned_axis(plan, grid.rows, {core.top for core in cores}, picture.height),
        _planned_axis(plan, grid.columns, {core.left for core in cores}, picture.width),
    )


def tiles_of(plan: RenderPlan) -> list[Box]:
    """The tiles of the last phase in pixels, cut at the borders of the picture."""
    scale = plan.latent_scale * plan.spec.upscale
    return [tile.scaled(scale).padded(0, within=plan.picture) for tile in plan.phases[-1].tiles]


def _planned_axis(plan: RenderPlan, axis: Axis, cuts: set[int], length: int) -> SeamAxis:
    grid = plan.phases[-1].grid
    return seam_axis(
        length,
        axis.spans,
        cuts=cuts,
        margin=grid.margin if grid.blend is Blend.RAMP else 0,
        is_hard=grid.blend is not Blend.RAMP,
        wraps=axis.wraps,
        latent=plan.latent_scale * plan.spec.upscale,
    )
