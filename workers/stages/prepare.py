"""Preparation: prompt embeddings and the canvas latents that tiles start from."""

from __future__ import annotations

from collections.abc import Iterable

from app.canvas import write_band
from app.domain.plan import RenderPlan, canonical_json
from app.domain.work import Work
from app.editing import copy_parent
from app.parts import colours_key, prompt_key
from workers.encoding import encode_bands
from workers.enlarge import native_picture
from workers.families.conditioning import Conditioning
from workers.layers import before_layers
from workers.stages.context import Check, Context
from workers.stages.editing import put_area, put_ground
from workers.stages.finite import finite
from workers.stages.picture import starting_picture
from workers.stages.walk import encode_prompts


def render_prepare(context: Context, plan: RenderPlan, work: Work, check: Check) -> bytes:
    """Embeddings; with a picture to start from also canvas latents."""
    model = context.model(plan, plan.spec.refine_model)
    _put_prompts(context, plan, work, encode_prompts(model, plan, check))
    if plan.is_edit:
        put_area(context, plan, work, check)
    if plan.spec.rerender is not None:
        copy_parent(context.store, plan, work.image, plan.spec.rerender, check)
    elif plan.starts_from_picture:
        picture = starting_picture(context, plan, work.image)
        if plan.decode.anchors_colours:
            context.put(colours_key(plan, work.image), native_picture(picture, model.card))
        if plan.is_edit:
            put_ground(context, plan, work, picture, check)
        with before_layers(model.vae, check):
            for number, latents in enumerate(encode_bands(model.vae, plan, picture)):
                check()
                write_band(context.store, plan, work.image, 0, number, finite(latents, work.label))
    return canonical_json({"model": model.card.name})


def read_prompts(context: Context, plan: RenderPlan, work: Work) -> list[Conditioning]:
    """What ``render_prepare`` stored: the picture's own prompt, then the regions'."""
    keys = (prompt_key(plan, work.image, number) for number in range(1 + len(plan.spec.regions)))
    return [context.shared_prompts(key) for key in keys]


def _put_prompts(
    context: Context, plan: RenderPlan, work: Work, prompts: Iterable[Conditioning]
) -> None:
    for number, prompt in enumerate(prompts):
        context.store.put(prompt_key(plan, work.image, number), prompt.to_bytes())
