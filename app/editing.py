"""What an edit needs beside its plan: the area, read from its mask, and blobs that hold it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.canvas import band_boxes, band_key, read_window
from app.domain.editing import Area
from app.domain.errors import InvalidRequestError, NotFoundError
from app.domain.geometry import Box
from app.domain.plan import RenderPlan
from app.domain.spec import RenderSpec, Rerender
from app.domain.work import (
    Stage,
    Work,
    canvas_key,
    ground_key,
    image_key,
    pixels_key,
    plan_key,
)
from app.pictures.codecs import decode_pixels, encode_array, encode_pixels
from app.pictures.reading import read_mask, read_size
from app.schemas import read_plan
from app.storage.port import BlobStore

Check = Callable[[], None]


def read_area(spec: RenderSpec, read: Callable[[str], bytes], max_mpx: float) -> Area | None:
    """What *spec* paints anew; ``None`` when it is the whole picture.

    Raises ``InvalidRequestError`` when its mask or picture do not fit it.
    """
    if spec.rerender is not None:
        return Area(spec, np.full((1, 1), 255, np.uint8), spec.rerender.box)
    if spec.mask is None or spec.init_image is None:
        return None
    if spec.upscale > 1:
        raise InvalidRequestError(f"mask needs upscale 1, got {spec.upscale}")
    size = read_size(read(spec.init_image), field="init_image", max_mpx=max_mpx)
    if size != (spec.height, spec.width):
        raise InvalidRequestError(
            f"init_image must have the size of the picture with a mask, {spec.width}x{spec.height} "
            f"px, got {size[1]}x{size[0]} px"
        )
    mask = read_mask(read(spec.mask), field="mask", max_mpx=max_mpx)
    if not _has_aspect(spec, *mask.shape):
        raise InvalidRequestError(
            f"mask must have the picture's aspect, {spec.width}:{spec.height}, "
            f"got {mask.shape[1]}x{mask.shape[0]} px"
        )
    return Area(spec, mask, Box(0, 0, spec.height, spec.width))


def check_aspect(spec: RenderSpec, read: Callable[[str], bytes], max_mpx: float) -> None:
    """Refuse a picture to start from that would be stretched."""
    if spec.init_image is None:
        return
    height, width = read_size(read(spec.init_image), field="init_image", max_mpx=max_mpx)
    if not _has_aspect(spec, height, width):
        raise InvalidRequestError(
            f"init_image must have the picture's aspect, {spec.width}:{spec.height}, "
            f"got {width}x{height} px; init_fit crop or stretch takes it"
        )


def _has_aspect(spec: RenderSpec, height: int, width: int) -> bool:
    """Whether a picture of *height* x *width* lacks less than a pixel of the order's aspect."""
    return abs(height * spec.width - width * spec.height) < max(spec.height, spec.width)


def read_parent(again: Rerender, read: Callable[[str], bytes]) -> RenderPlan:
    """The plan of the picture of which a part is rendered again.

    Raises ``InvalidRequestError`` unless its picture and its latents are in the store.
    """
    try:
        parent = read_plan(read(plan_key(again.plan_hash)))
        if again.image >= parent.spec.count:
            raise InvalidRequestError(
                f"rerender.image must be below {parent.spec.count}, got {again.image}"
            )
        read(canvas_key(parent, again.image, len(parent.phases)))
        read(f"{Work(Stage.PICTURE, again.image).key(parent)}.json")
    except NotFoundError as err:
        raise InvalidRequestError(
            "rerender.plan_hash must be that of a finished render whose latents are still in the "
            f"store, got {again.plan_hash}"
        ) from err
    return parent


def check_parent(plan: RenderPlan, parent: RenderPlan) -> None:
    """Refuse a *plan* whose latents and cores are not those of its *parent*."""
    spec, former, model = plan.spec, parent.spec, plan.spec.refine_model
    for name, own, theirs in (
        ("size", f"{spec.width}x{spec.height}", f"{former.width}x{former.height}"),
        ("upscale", spec.upscale, former.upscale),
        ("depth", spec.bits, former.bits),
        ("wrap", spec.wrap, former.wrap),
        ("model", model, former.refine_model),
        ("model's revision", plan.revisions[model], parent.revisions[former.refine_model]),
        ("canvas", plan.canvas, parent.canvas),
        ("cores", plan.decode.cores, parent.decode.cores),
    ):
        if own != theirs:
            raise InvalidRequestError(
                f"rerender must keep the {name} of the picture, {theirs}, got {own}"
            )


def copy_parent(
    store: BlobStore, plan: RenderPlan, image: int, again: Rerender, check: Check
) -> None:
    """Start from the parent's finished latents and pixels; no autoencoder is asked.

    *check* runs before each blob and may raise.
    """
    parent = read_parent(again, store.get)
    for band in range(len(band_boxes(plan))):
        check()
        latents = store.get(band_key(parent, again.image, len(parent.phases), band))
        store.put(band_key(plan, image, 0, band), latents)
    for core in range(len(plan.decode.cores)):
        check()
        pixels = store.get(pixels_key(parent, again.image, core))
        store.put(ground_key(plan, image, core), pixels)


def write_area(store: BlobStore, plan: RenderPlan, image: int, area: Area, check: Check) -> None:
    """Store which latents are free and how opaque the painted cores are.

    *check* runs before each blob and may raise.
    """
    latent = plan.latent_scale * plan.spec.upscale
    for number, band in enumerate(band_boxes(plan)):
        check()
        free = area.free(band, latent)[None].astype(np.float32)
        store.put(band_key(plan, image, free_number(plan), number), encode_array(free))
    for core in plan.decode.indices:
        check()
        # One latent: what a held latent decodes to is not quite the picture it was encoded from.
        opacity = area.opacity(plan.core_pixels(core), latent)
        pixels = np.repeat(opacity[..., None], 3, axis=2)
        store.put(opacity_key(plan, image, core), encode_pixels(pixels))


def read_free(
    plan: RenderPlan, image: int, box: Box, read: Callable[[str], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """One at latents that are painted anew inside *box*, zero where they are held: ``(h, w)``."""
    free: NDArray[np.float32] = read_window(plan, image, free_number(plan), box, read)[0]
    return free


def read_opacity(store: BlobStore, plan: RenderPlan, image: int, core: int) -> NDArray[np.uint8]:
    """How far painted pixels replace the picture's in a painted core, ``(H, W)`` uint8."""
    pixels = decode_pixels(store.get(opacity_key(plan, image, core)))
    return np.asarray(pixels[..., 0], np.uint8)


def opacity_key(plan: RenderPlan, image: int, core: int) -> str:
    """How far painted pixels replace those of *core* in the picture as it was."""
    return image_key(plan, image, f"opacity-{core:05d}")


def free_number(plan: RenderPlan) -> int:
    """Where a phase's number is asked for, what is free: behind the features of a head."""
    return len(plan.phases) + 2
