"""The GPU's part of a render: each stage's function, by its name."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.errors import InvalidPlanError
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, stage_model
from workers.stages.base import render_base
from workers.stages.context import Check, Context
from workers.stages.core import render_core
from workers.stages.head import render_head
from workers.stages.prepare import render_prepare
from workers.stages.tile import render_tiles


class Renderer:
    """Renders units of work from blobs to blobs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def load(self, plan: RenderPlan, stage: Stage) -> None:
        """Load what units of *stage* need; nothing happens where it is loaded already."""
        context, spec = self._context, plan.spec
        model = context.model(plan, stage_model(plan, stage))
        if stage is Stage.TILE and spec.control is not None:
            context.control(plan, spec.control, model)
        if stage is Stage.CORE and spec.restore:
            context.upscalers.restorer(plan)
        if stage is Stage.CORE and spec.upscale > 1:
            context.upscalers.get(plan)

    def render(self, plan: RenderPlan, work: Work, check: Check) -> bytes:
        """The blob of *work*; *check* is called between its parts and may raise."""
        match work.stage:
            case Stage.BASE:
                return render_base(self._context, plan, work, check)
            case Stage.PREPARE:
                return render_prepare(self._context, plan, work, check)
            case Stage.TILE:
                return self.render_tiles(plan, [work], check)[0]
            case Stage.HEAD:
                return render_head(self._context, plan, work, check)
            case Stage.CORE:
                return render_core(self._context, plan, work, check)
            case _:
                raise InvalidPlanError(f"{work.stage} is no work for a renderer")

    def render_tiles(self, plan: RenderPlan, works: Sequence[Work], check: Check) -> list[bytes]:
        """The blobs of *works*, tiles of one image and phase, denoised together.

        They may be any part of a batch: what exists already, or did not fit, is left out.
        """
        return render_tiles(self._context, plan, works, check)
