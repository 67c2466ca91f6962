"""The uploaded masks of a job's regions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.domain.plan import RenderPlan
from app.pictures.reading import read_picture
from workers.stages.context import Context

Masks = Mapping[int, NDArray[np.float32]]
"""``(H, W)`` in ``[0, 1]`` by the number of the region."""


def read_masks(context: Context, plan: RenderPlan) -> Masks:
    """The masks of *plan*'s regions; a colour picture counts by its brightness."""
    return {
        number: _read(context, region.mask, f"regions.{number}.mask")
        for number, region in enumerate(plan.spec.regions)
        if region.mask is not None
    }


def _read(context: Context, key: str, field: str) -> NDArray[np.float32]:
    pixels = read_picture(context.store.get(key), field=field, max_mpx=context.max_input_mpx)
    mask: NDArray[np.float32] = (pixels.mean(axis=2) / 255.0).astype(np.float32)
    return mask
