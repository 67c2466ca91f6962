"""Which tiles are denoised together: one evaluation of the network for all of a batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from app.domain.geometry import Box, parts
from app.domain.plan import RenderPlan
from app.domain.spec import Region
from app.domain.work import Stage, Work

Kind = tuple[Stage, int, int, int, int, tuple[int, ...]]
"""Stage, image, phase, height, width, and the regions whose prompts are evaluated."""


def batches(plan: RenderPlan, units: Iterable[Work], size: int) -> Iterator[tuple[Work, ...]]:
    """*units* in groups of at most *size*; only tiles of one kind share a group.

    Each unit is in one group, in the order given. How units are grouped changes the last bits of
    a tile and nothing else.
    """
    groups: dict[Kind, list[Work]] = defaultdict(list)
    for unit in units:
        if unit.stage is not Stage.TILE:
            yield (unit,)
            continue
        group = groups[_kind(plan, unit)]
        group.append(unit)
        if len(group) >= size:
            yield tuple(group)
            group.clear()
    yield from (tuple(group) for group in groups.values() if group)


def _kind(plan: RenderPlan, tile: Work) -> Kind:
    box = plan.phases[tile.phase].grid.tile(tile.index)
    regions = enumerate(plan.spec.regions)
    painted = tuple(number for number, region in regions if _reaches(plan, region, box))
    return tile.stage, tile.image, tile.phase, box.height, box.width, painted


def _reaches(plan: RenderPlan, region: Region, tile: Box) -> bool:
    """Whether *region*, its mask left aside, fades into *tile* anywhere."""
    fade, scale = region.feather // 2, plan.latent_scale * plan.spec.upscale
    box = region.box
    grown = Box(box.top - fade, box.left - fade, box.bottom + fade, box.right + fade)
    return any(
        part.on_canvas.scaled(scale).intersection(grown) for part in parts(tile, plan.canvas)
    )
