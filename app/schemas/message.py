"""What goes from process to process: names and numbers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, TypeAdapter

from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work

MOST_TOGETHER = 64
"""Tiles that any worker denoises together."""
_PLANS = TypeAdapter(RenderPlan)


class WorkMessage(BaseModel):
    """One unit of work on the wire: names and numbers, never pixels.

    Read tolerantly, so that an old worker survives a new sender.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    job_id: str
    plan_hash: str
    stage: Stage
    image: int
    phase: int = 0
    index: int = 0
    more: list[int] = []
    """Further tiles of the same image and phase."""
    together: int = MOST_TOGETHER
    """How many of its tiles are denoised together, at most."""
    attempt: int = 0
    """How often the unit was sent again because nobody answered for it."""

    @property
    def work(self) -> Work:
        return Work(self.stage, self.image, self.phase, self.index)

    @property
    def works(self) -> tuple[Work, ...]:
        """All units of the message, its own first."""
        indices = dict.fromkeys([self.index, *self.more])
        return tuple(Work(self.stage, self.image, self.phase, index) for index in indices)


def read_plan(data: bytes) -> RenderPlan:
    """The plan written by ``RenderPlan.to_json``."""
    return _PLANS.validate_json(data)
