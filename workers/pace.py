"""How long this worker took for units like those that it renders now."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.domain.plan import RenderPlan
from app.domain.work import Work


class Pace:
    """The seconds of the last units; those of one phase take about the same."""

    def __init__(self) -> None:
        self._kind: tuple[object, ...] = ()
        self._seconds = math.inf

    def note(self, plan: RenderPlan, works: Sequence[Work], seconds: float) -> None:
        """Note that *works* were rendered together in *seconds*."""
        self._kind, self._seconds = _kind(plan, works), seconds

    def of(self, plan: RenderPlan, works: Sequence[Work]) -> float:
        """Seconds that *works* will take together; infinite unless the last were like them."""
        return self._seconds if self._kind == _kind(plan, works) else math.inf


def _kind(plan: RenderPlan, works: Sequence[Work]) -> tuple[object, ...]:
    first = works[0]
    return plan.hash, first.stage, first.phase, len(works)
