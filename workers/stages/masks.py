"""The uploaded masks of a job's regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.domain.plan import RenderPlan
from workers.stages.context import Context

Masks = Mapping[int, NDArray[np.float32]]
"""``(H, W)`` in ``[0, 1]`` by the number of the region."""


def read_masks(context: Context, plan: RenderPlan) -> Masks:
    """The masks of *plan*'s regions."""
    return {
        number: context.shared_mask(region.mask, f"regions.{number}.mask")
        for number, region in enumerate(plan.spec.regions)
        if region.mask is not None
    }
