"""The picture a render starts from, and what holds a tile to its part of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from app.domain.geometry import Box, parts
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from app.editing import read_parent
from app.pictures.reading import fitted
from workers.enlarge import Enlarger
from workers.families.control import Control
from workers.families.model import Model
from workers.stages.context import Array, Context


def starting_picture(context: Context, plan: RenderPlan, image: int) -> Array:
    """``(H, W, 3)`` float32 in ``[0, 1]``: the user's picture, else the base.

    A part that is rendered again has those of the picture that was rendered first.
    """
    while (again := plan.spec.rerender) is not None:
        plan, image = read_parent(again, context.store.get), again.image
    if plan.spec.init_image is None:
        return context.shared_array(Work(Stage.BASE, image).key(plan))
    return fitted(plan, context.shared_picture(plan.spec.init_image))


def read_control(
    context: Context, plan: RenderPlan, image: int, model: Model, boxes: Sequence[Box]
) -> Control | None:
    """What holds tiles at *boxes* to the enlarged picture, if the plan wants them held."""
    if plan.spec.control is None:
        return None
    network = context.control(plan, plan.spec.control, model)
    picture = starting_picture(context, plan, image)
    pixels = np.stack([enlarged_window(plan, picture, box) for box in boxes])
    signal = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(model.device)
    return Control(network, signal, plan.spec.control.scale)


def enlarged_window(plan: RenderPlan, picture: Array, box: Box) -> Array:
    """*picture* enlarged to the canvas inside *box*, latents, which may leave it where it wraps."""
    enlarger, scale = Enlarger(plan, picture), plan.latent_scale
    pixels = np.empty((box.height * scale, box.width * scale, 3), np.float32)
    for part in parts(box, plan.canvas):
        window = part.in_box.scaled(scale).window
        pixels[window] = enlarger.window(part.on_canvas.scaled(scale))
    return pixels
