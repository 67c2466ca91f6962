"""Editing a picture: what is held while a part of it is painted anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.canvas import noise_window, read_window
from app.domain.editing import composite
from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.work import Work, ground_key
from app.editing import read_area, read_free, read_opacity, write_area
from app.pictures.codecs import Pixels, decode_pixels, encode_pixels, round_pixels
from workers.denoise import Denoiser
from workers.stages.context import Array, Check, Context


@dataclass(frozen=True, slots=True)
class Held:
    """Latents of windows where ``free`` ``(B, 1, h, w)`` is zero: ``known`` ``(B, C, h, w)``,
    noised."""

    free: Array
    known: Array
    noise: Array

    def state(self, x: Array, sigma: float) -> Array:
        """*x* ``(B, C, h, w)`` with the held latents at *sigma*, as a perfect walk leaves them."""
        return np.where(self.free > 0, x, self.known + np.float32(sigma) * self.noise)

    def denoiser(self, denoiser: Denoiser) -> Denoiser:
        """*denoiser* for which the held latents are known; it sees them as its context.

        Lugmayr et al., "RePaint" (2022), holds the state; to hold the prediction is the same on
        a deterministic walk, and right for multistep solvers too.
        """
        free, known = torch.from_numpy(self.free > 0), torch.from_numpy(self.known)

        def predict(x: Tensor, sigma: float, timestep: float) -> Tensor:
            return torch.where(free.to(x.device), denoiser(x, sigma, timestep), known.to(x))

        return predict


def read_held(context: Context, plan: RenderPlan, image: int, boxes: Sequence[Box]) -> Held:
    """What tiles at *boxes* must keep."""
    read = context.shared_array
    return Held(
        np.stack([read_free(plan, image, box, read)[None] for box in boxes]),
        np.stack([read_window(plan, image, 0, box, read) for box in boxes]),
        np.stack([noise_window(plan, image, box) for box in boxes]),
    )


def put_area(context: Context, plan: RenderPlan, work: Work, check: Check) -> None:
    """Store what *plan*'s edit paints anew."""
    area = read_area(plan.spec, context.store.get, context.max_input_mpx)
    if area is None:
        raise InvalidPlanError("this plan paints no part of a picture anew")
    write_area(context.store, plan, work.image, area, check)


def put_ground(
    context: Context, plan: RenderPlan, work: Work, picture: Array, check: Check
) -> None:
    """Store the *picture* ``(H, W, 3)`` in ``[0, 1]`` of which a part is painted, in cores."""
    for core in range(len(plan.decode.cores)):
        check()
        window = picture[plan.core_pixels(core).window]
        pixels = round_pixels(window, plan.spec.bits)
        context.store.put(ground_key(plan, work.image, core), encode_pixels(pixels))


def over_ground(context: Context, plan: RenderPlan, work: Work, painted: Array) -> Pixels:
    """The pixels of a core: *painted* ``(H, W, 3)`` in ``[0, 1]`` where the area is."""
    ground = decode_pixels(context.store.get(ground_key(plan, work.image, work.index)))
    return composite(ground, painted, read_opacity(context.store, plan, work.image, work.index))
