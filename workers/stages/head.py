"""The head: as far as decoding has to see the whole of a finished canvas."""

from __future__ import annotations

from app.canvas import band_boxes, features_number, read_window, write_band
from app.domain.card import HEAD_PADDING
from app.domain.geometry import Box
from app.domain.plan import RenderPlan, canonical_json
from app.domain.work import Work
from app.parts import statistics_key
from workers.layers import before_layers
from workers.stages.context import Array, Check, Context
from workers.stages.finite import finite
from workers.vae import survey_decoder, survey_head


def render_head(context: Context, plan: RenderPlan, work: Work, check: Check) -> bytes:
    """Statistics for all cores; their features too, where the plan has a head."""
    model = context.model(plan, plan.spec.refine_model)

    def read_band(key: str) -> Array:
        check()
        return context.shared_array(key)

    def read(box: Box) -> Array:
        return read_window(plan, work.image, len(plan.phases), box, read_band)

    if plan.decode.head:
        padded = plan.canvas.padded(HEAD_PADDING, within=plan.reach)
        inside = [box.relative_to(padded) for box in plan.decode.windows]
        latents = read(padded)
        with before_layers(model.vae, check):
            statistics, features = survey_head(model.vae, latents, inside, plan.decode.rim)
        whole = plan.canvas.relative_to(padded)
        features = finite(features, work.label)[(slice(None), *whole.window)]
        _write(context, plan, work, features, check)
    else:
        windows = [read(box) for box in plan.decode.windows]
        with before_layers(model.vae, check):
            statistics = survey_decoder(model.vae, windows, plan.decode.rim)
    context.put(statistics_key(plan, work.image), finite(statistics, work.label))
    return canonical_json({"model": model.card.name})


def _write(context: Context, plan: RenderPlan, work: Work, features: Array, check: Check) -> None:
    """Store *features* ``(C, H, W)`` of the whole canvas in bands."""
    canvas = features_number(plan)
    for number, band in enumerate(band_boxes(plan)):
        check()
        part = features[(slice(None), *band.window)]
        write_band(context.store, plan, work.image, canvas, number, part)
