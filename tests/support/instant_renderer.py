"""A renderer without a model: blobs of the right shape, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from app.pictures.codecs import encode_array, encode_pixels
from workers import bootstrap


class InstantRenderer:
    """Renders black pictures; its heirs take time, or fail."""

    def load(self, plan: RenderPlan, stage: Stage) -> None:
        """There is nothing to load."""

    def render(self, plan: RenderPlan, work: Work, check: Callable[[], None]) -> bytes:
        """The blob of *work*."""
        if work.stage is Stage.TILE:
            phase = plan.phases[work.phase]
            box = phase.tiles[work.index]
            channels = plan.latent_channels * (2 if phase.splits_noise else 1)
            return encode_array(np.zeros((channels, box.height, box.width), np.float32))
        if work.stage is Stage.CORE:
            box = plan.core_pixels(work.index)
            return encode_pixels(np.zeros((box.height, box.width, 3), np.uint8))
        return b"{}"

    def render_tiles(
        self, plan: RenderPlan, works: Sequence[Work], check: Callable[[], None]
    ) -> list[bytes]:
        """The blobs of a batch, one after the other."""
        return [self.render(plan, work, check) for work in works]


def install(renderer: InstantRenderer) -> None:
    """Let *renderer* be this process's; to be called before its first unit."""
    bootstrap.open_renderer = lambda app, device: renderer  # type: ignore[assignment,return-value]
