"""How firmly tiles are held to the picture they started from while its layout is open."""

from __future__ import annotations

import numpy as np

from app.domain.phases import LAYOUT_DECIDED
from app.domain.plan import RenderPlan

# Du et al., "DemoFusion" (2024), equation 4: ((1 + cos(pi (1 - t / 1000))) / 2)^3 at t = 600, 750,
# 800, 900 and 1000 of Stable Diffusion's schedule, by the noise-to-signal ratio there. At t = 400
# it is 0.04; nothing is held from there on, so that a walk from less noise is as it was.
_RATIOS = (LAYOUT_DECIDED, 2.3, 4.1, 5.1, 8.3, 14.6)
_SHARES = (0.0, 0.28, 0.62, 0.74, 0.93, 1.0)


def base_share(sigma: float) -> float:
    """The share of the base picture in a tile's latents before a step at *sigma*, 0 to 1."""
    return float(np.interp(np.log(sigma), np.log(_RATIOS), _SHARES))


def holds_base(plan: RenderPlan, phase: int) -> bool:
    """Whether tiles of *phase* are held to the base picture (skip residual).

    Only to one that this render has painted: who brings a picture and asks for much noise wants
    it changed.
    """
    return plan.base is not None and plan.phases[phase].steps.sigmas[0] > LAYOUT_DECIDED
