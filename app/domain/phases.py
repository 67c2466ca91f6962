"""The phases of every mode: which tiles, down which steps, merged how.

One mechanism serves all modes. Inside a phase tiles are independent; between two phases the
canvas is merged. One phase is independent refinement, a phase for every step is MultiDiffusion.
"""

from __future__ import annotations

import math

from app.domain.card import ModelCard
from app.domain.grid import Blend, Grid
from app.domain.plan import Merge, Phase
from app.domain.schedule import Steps, full_steps, partial_steps
from app.domain.spec import Mode, RenderSpec
from app.domain.tiling import plan_axis, plan_windows

LAYOUT_DECIDED = 1.16
"""The noise-to-signal ratio below which a picture keeps its layout and its colours."""
BOUNDARIES = (8.3, 4.1, 2.3, LAYOUT_DECIDED, 0.35)
"""Noise-to-signal ratios at which tiles exchange. Goslin, "InfiniteDiffusion" (2025) exchanges at
t = 900, 750, 600 and 400 of Stable Diffusion's schedule; the first four are these levels for any
model. The last halves what tiles that overlap disagree about: they then paint detail on one
picture. Later ones change nothing (docs/decisions/0014)."""

# Offsets of the windows that do not overlap, as parts of a tile: Roberts' R2 sequence (2018)
# spreads them so that a border of one step is far inside a window of the next ones.
_SHIFT_ROWS, _SHIFT_COLUMNS = 0.7548776662466927, 0.5698402909980532


def plan_phases(
    spec: RenderSpec, card: ModelCard, height: int, width: int, *, from_picture: bool
) -> tuple[Phase, ...]:
    """The phases of a canvas of *height* x *width* latents."""
    steps = (
        partial_steps(card.schedule, spec.steps, nsr=spec.nsr)
        if from_picture
        else full_steps(card.schedule, spec.steps, spec.sampler)
    )
    grid = tile_grid(spec, card, height, width)
    match spec.mode:
        case Mode.DIRECT:
            return (Phase(grid, steps),)
        case Mode.REFINE | Mode.PHASED:
            return _exchanging(grid, steps)
        case Mode.MULTIDIFFUSION:
            return tuple(Phase(grid, step) for step in steps.one_by_one())
        case Mode.SPOT:
            return _spot(spec, card, grid, steps)


def tile_grid(spec: RenderSpec, card: ModelCard, height: int, width: int) -> Grid:
    """The overlapping tiles of a canvas; one tile in mode direct."""
    scale = card.latent_scale
    tile, overlap = spec.tile // scale, spec.overlap // scale
    if spec.mode is Mode.DIRECT:
        tile = max(height, width)
    rows, columns = (
        plan_axis(length, tile, overlap, alignment=card.alignment, wraps=wraps)
        for length, wraps in ((height, spec.wrap.rows), (width, spec.wrap.columns))
    )
    # 2 of the usual 16 latents: a tile's own edge shows there
    return Grid(rows, columns, spec.blend, margin=max(1, overlap // 8))


def _exchanging(grid: Grid, steps: Steps) -> tuple[Phase, ...]:
    *parts, last = steps.split(BOUNDARIES if len(grid) > 1 else ())
    return (*(Phase(grid, part, Merge.CLEAN) for part in parts), Phase(grid, last))


def _spot(spec: RenderSpec, card: ModelCard, grid: Grid, steps: Steps) -> tuple[Phase, ...]:
    """Pasted windows, moved at every step, while an exchange is needed; then overlapping tiles.

    The borders of the last windows would never be repaired, so the walk ends with an overlap.
    """
    tile = spec.tile // card.latent_scale
    *moving, still = steps.split((LAYOUT_DECIDED,))
    shifted = []
    for number, step in enumerate(step for part in moving for step in part.one_by_one()):
        rows, columns = (
            plan_windows(
                axis.length,
                tile,
                math.floor(tile * (number * shift % 1.0)),
                alignment=card.alignment,
                wraps=axis.wraps,
            )
            for axis, shift in ((grid.rows, _SHIFT_ROWS), (grid.columns, _SHIFT_COLUMNS))
        )
        shifted.append(Phase(Grid(rows, columns, Blend.PASTE), step))
    return (*shifted, *_exchanging(grid, still))
