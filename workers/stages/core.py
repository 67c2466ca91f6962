"""Cores: parts of the finished latents, decoded, restored and super-resolved."""

from __future__ import annotations

from typing import cast

import numpy as np
from diffusers import AutoencoderTiny

from app.canvas import features_number, read_window
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.work import Work
from app.parts import colours_key, statistics_key
from app.pictures.codecs import encode_pixels, round_pixels
from workers.colour import anchor_colours
from workers.layers import before_layers
from workers.stages.context import Array, Check, Context
from workers.stages.editing import over_ground
from workers.stages.finite import finite
from workers.stages.picture import enlarged_window
from workers.upscale.load import Upscaler
from workers.upscaling import check_padding
from workers.vae import decode, decode_tail, decode_tiny


def render_core(context: Context, plan: RenderPlan, work: Work, check: Check) -> bytes:
    """Pixels ``(H, W, 3)`` of one core, in the plan's bits."""
    padded = plan.decode.cores[work.index].padded(plan.decode.padding, within=plan.reach)
    pixels = finite(_finished(context, plan, work, padded, check), work.label)
    scale = plan.latent_scale * plan.spec.upscale
    window = plan.core_pixels(work.index).relative_to(padded.scaled(scale)).window
    if plan.is_edit:
        return encode_pixels(over_ground(context, plan, work, pixels[window]))
    return encode_pixels(round_pixels(pixels[window], plan.spec.bits))


def _finished(context: Context, plan: RenderPlan, work: Work, box: Box, check: Check) -> Array:
    """Pixels of *box*, restored, then with their colours fixed, then enlarged, as *plan* says.

    A restorer may shift tones: colours are fixed behind it.
    """
    restorer = context.upscalers.restorer(plan) if plan.spec.restore else None
    upscaler = context.upscalers.get(plan) if plan.spec.upscale > 1 else None
    check_padding(plan, context.model(plan, plan.spec.refine_model).card, upscaler, restorer)
    pixels = _through(restorer, _decoded(context, plan, work, box, check), check)
    if plan.decode.anchors_colours:
        colours = context.shared_array(colours_key(plan, work.image))
        anchored = anchor_colours(pixels, enlarged_window(plan, colours, box))
        pixels = np.clip(anchored, 0.0, 1.0)
    return _through(upscaler, pixels, check)


def _through(network: Upscaler | None, pixels: Array, check: Check) -> Array:
    """What *network* makes of *pixels*; the same where there is none."""
    if network is None:
        return pixels
    with before_layers(network.network, check):
        return network(pixels)


def _decoded(context: Context, plan: RenderPlan, work: Work, box: Box, check: Check) -> Array:
    """Pixels of *box*: of the head's features where there are any, else of the latents."""
    model = context.model(plan, plan.spec.refine_model)
    canvas = features_number(plan) if plan.decode.head else len(plan.phases)
    window = read_window(plan, work.image, canvas, box, context.shared_array)
    if plan.spec.decoder == "tiny":
        tiny = cast("AutoencoderTiny", model.tiny)  # a plan asks for one where there is one
        with before_layers(tiny, check):
            return decode_tiny(tiny, window)
    with before_layers(model.vae, check):
        if not plan.decode.freezes_statistics:
            return decode(model.vae, window)
        statistics = context.shared_array(statistics_key(plan, work.image))
        return (decode_tail if plan.decode.head else decode)(model.vae, window, statistics)
