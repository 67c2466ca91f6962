"""What no mode does, to hold the modes against: tiles that know nothing of each other."""

from __future__ import annotations

from dataclasses import replace

from app.domain.card import ModelCard
from app.domain.grid import Blend
from app.domain.phases import tile_grid
from app.domain.plan import Merge, Phase, RenderPlan
from app.domain.schedule import full_steps
from app.domain.tiling import plan_windows


def independent_tiles(
    render: RenderPlan, card: ModelCard, *, is_blended: bool = False
) -> RenderPlan:
    """*render* with every tile painted on its own, from noise to the end, and pasted.

    Or *is_blended*: they overlap as those of any mode do, and are feathered alike.
    """
    spec = render.spec
    grid = tile_grid(spec, card, render.canvas_height, render.canvas_width)
    steps = full_steps(card.schedule, spec.steps, spec.sampler)
    if is_blended:
        return replace(render, phases=(Phase(grid, steps, Merge.STATE),))
    rows, columns = (
        plan_windows(axis.length, spec.tile // card.latent_scale, 0, wraps=False)
        for axis in (grid.rows, grid.columns)
    )
    pasted = Phase(replace(grid, rows=rows, columns=columns, blend=Blend.PASTE), steps, Merge.STATE)
    return replace(render, phases=(pasted,))
