"""A picture encoded to the latents that tiles start from: as a whole canvas, in cores.

The encoder's counterpart to ``workers.stages.head`` and ``workers.stages.core``. One unit encodes
the canvas, so nothing has to be stored in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from diffusers import AutoencoderKL

from app.canvas import band_boxes
from app.domain.card import HEAD_PADDING
from app.domain.decoding import CORE_LATENTS
from app.domain.errors import InvalidPlanError
from app.domain.plan import RenderPlan
from workers.enlarge import Enlarger
from workers.group_norm import Statistics
from workers.vae import Latents, Pixels, encode, encode_down, encode_middle, survey_encoder


def encode_bands(vae: AutoencoderKL, plan: RenderPlan, picture: Pixels) -> Iterator[Latents]:
    """Latents ``(C, h, W)`` of each band of the canvas that *picture* is enlarged to.

    Raises ``InvalidPlanError`` for a plan that encodes no picture.
    """
    if plan.encode is None:
        raise InvalidPlanError(
            f"this plan, of version {plan.version}, does not say how its picture is encoded"
        )
    enlarger, bands = Enlarger(plan, picture), band_boxes(plan)
    if not plan.encode.freezes_statistics:
        longest = max(plan.canvas_height, plan.canvas_width)
        whole = enlarger.in_cores(plan.canvas, longest, partial(encode, vae))
        yield from (whole[:, band.top : band.bottom] for band in bands)
        return
    windows = [enlarger.window(box.scaled(plan.latent_scale)) for box in plan.encode.windows]
    statistics = survey_encoder(vae, windows, plan.encode.rim * plan.latent_scale)
    if plan.encode.head:
        whole = _encode_whole(vae, plan, enlarger, statistics)
        yield from (whole[:, band.top : band.bottom] for band in bands)
        return
    run = partial(encode, vae, statistics=statistics)
    yield from (enlarger.in_cores(band, CORE_LATENTS, run) for band in bands)


def _encode_whole(
    vae: AutoencoderKL, plan: RenderPlan, enlarger: Enlarger, statistics: Statistics
) -> Latents:
    """Latents of the whole canvas: the down path in cores, the middle block on all of it.

    The middle block sees everything it would be normalised by, and needs no *statistics*.
    """
    run = partial(encode_down, vae, statistics=statistics)
    features = enlarger.in_cores(plan.canvas, CORE_LATENTS, run)
    padded = plan.canvas.padded(HEAD_PADDING, within=plan.reach)
    rows, columns = -padded.top, -padded.left
    around = np.pad(features, ((0, 0), (rows, rows), (columns, columns)), mode="wrap")
    inner = plan.canvas.relative_to(padded)
    return encode_middle(vae, around)[(slice(None), *inner.window)]
