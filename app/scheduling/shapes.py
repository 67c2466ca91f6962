"""What decides how long a unit of work takes."""

from __future__ import annotations

from app.domain.plan import RenderPlan
from app.domain.prediction import Shape
from app.domain.work import Stage, Work, stage_model

_EXPONENTS = {Stage.MERGE: 0.75}
"""Reading the tiles is most of a merge, messages and records are most of other steps."""


def size_of(plan: RenderPlan, work: Work) -> float:
    """What the seconds of *work* grow with: latents or pixels, times steps."""
    match work.stage:
        case Stage.TILE:
            phase = plan.phases[work.phase]
            return phase.grid.tile(work.index).area * len(phase.steps)
        case Stage.CORE:
            return plan.decode.cores[work.index].area * plan.spec.upscale**2
        case Stage.BASE if plan.base is not None:
            return plan.base.height * plan.base.width * len(plan.base.steps)
    return plan.canvas.height * plan.canvas.width


def shape_of(plan: RenderPlan, work: Work, device: str) -> Shape:
    """The shape under which durations of *work* on *device* are learned."""
    return Shape(stage_model(plan, work.stage), str(work.stage), size_of(plan, work), device)


def step_shape(plan: RenderPlan, work: Work) -> Shape:
    """The shape under which durations of a control worker's step are learned.

    Messages take the same time whatever the size, reading and blending grow with it. Nobody tells
    the two apart, so of a size that was never seen a power is taken, between none and the first.
    """
    exponent = _EXPONENTS.get(work.stage, 0.5)
    return Shape("", str(work.stage), _read(plan, work) ** exponent, "")


def _read(plan: RenderPlan, work: Work) -> float:
    """Latents that a merge reads, tiles being of one size, or pixels of the assembled picture."""
    if work.stage is Stage.MERGE:
        phase = plan.phases[work.phase]
        return len(phase.indices) * phase.grid.tile(0).area
    return plan.picture.area
