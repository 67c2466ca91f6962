"""How firmly tiles are held to the picture they started from while its layout is open."""

from __future__ import annotations

import numpy as np

from app.domain.phases import LAYOUT_DECIDED
from app.domain.plan import RenderPlan
from app.domain.spec import Mode

# Du et al., "DemoFusion" (2024), equation 4: cos^3 of the time, which at t = 400, 600, 800, 900
# and 1000 of Stable Diffusion's schedule is this at these noise-to-signal ratios.
_RATIOS = (LAYOUT_DECIDED, 2.3, 4.1, 8.3, 14.6)
_SHARES = (0.0, 0.28, 0.74, 0.93, 1.0)


def base_share(sigma: float) -> float:
    """The share of the base picture in a tile's latents before a step at *sigma*, 0 to 1."""
    return float(np.interp(np.log(sigma), np.log(_RATIOS), _SHARES))


def holds_base(plan: RenderPlan, phase: int) -> bool:
    """Whether tiles of *phase* are held to the base picture (skip residual).

    Only to one that this render has painted: who brings a picture and asks for much noise wants
    it changed.
    """
    is_open = plan.phases[phase].steps.sigmas[0] > LAYOUT_DECIDED
    return plan.base is not None and plan.spec.mode is Mode.REFINE and is_open
