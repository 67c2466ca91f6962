"""The CPU's part of a render: merging tiles and assembling pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app import __version__
from app.canvas import Latents, band_boxes, middle_band, read_window, tiles_inside, write_band
from app.domain.blending import MergedBand, Spread
from app.domain.geometry import Box, Part
from app.domain.plan import RenderPlan, canonical_json
from app.domain.quality import worst
from app.domain.work import Stage, Work, canvas_key, pixels_key
from app.editing import read_free
from app.measuring import PictureQuality, canvas_figures, quality_key
from app.pictures.assemble import assemble
from app.pictures.codecs import decode_array, decode_pixels
from app.pictures.recipe import Recipe
from app.reading import read_ahead
from app.storage.port import BlobStore
from app.views import store_views

_READERS = 8
"""Tiles that are read at once; one of 2048 px with 16 channels and its noise has 8 MB."""


def merge_phase(store: BlobStore, plan: RenderPlan, image: int, phase: int) -> None:
    """Blend the tiles of one phase into the canvas latents of the next, band by band.

    A tile that reaches into two bands is read twice; memory does not grow with the height.
    """
    bands, spread = band_boxes(plan), Spread()
    correlation = _noise_correlation(store, plan, image, phase)
    for number, band in enumerate(bands):
        merged = _merge_band(store, plan, image, phase, band)
        spread += merged.spread()
        write_band(store, plan, image, phase + 1, number, merged.canvas(correlation))
    quality = {"overlap_disagreement": round(spread.disagreement(), 6)}
    store.put(canvas_key(plan, image, phase + 1), canonical_json(quality))


def _noise_correlation(store: BlobStore, plan: RenderPlan, image: int, phase: int) -> float:
    """How alike the tiles' noises are, judged by the band in the middle of the canvas."""
    if not plan.phases[phase].splits_noise:
        return 1.0
    band = middle_band(plan, phase)
    return _merge_band(store, plan, image, phase, band).noise_correlation()


def _merge_band(
    store: BlobStore, plan: RenderPlan, image: int, number: int, band: Box
) -> MergedBand:
    phase = plan.phases[number]
    merged = MergedBand(phase, plan.latent_channels, band)
    if plan.is_edit:
        _add_held(store, plan, image, band, merged)

    def read(entry: tuple[int, list[Part]]) -> tuple[Latents, NDArray[np.float64], list[Part]]:
        index, inside = entry
        weight = phase.grid.weight(index)
        if plan.is_edit:
            weight = weight * read_free(plan, image, phase.grid.tile(index), _array_in(store))
        blob = store.get(Work(Stage.TILE, image, number, index).key(plan))
        return decode_array(blob), weight, inside

    # Added in the order of tiles, whoever is read first: sums of floats depend on theirs.
    for tile in read_ahead(tiles_inside(plan, number, band), read, at_once=_READERS):
        merged.add(*tile)
    return merged


def _add_held(
    store: BlobStore, plan: RenderPlan, image: int, band: Box, merged: MergedBand
) -> None:
    """Latents that an edit holds are the picture's own, to the last bit and after every phase."""
    known = read_window(plan, image, 0, band, _array_in(store))
    free = read_free(plan, image, band, _array_in(store)).astype(np.float64)
    here = Part(on_canvas=band, in_box=band.relative_to(band))
    # Their noise is left out: a tile of the next phase takes it from the canvas's field.
    noiseless = np.concatenate([known, np.zeros_like(known)])
    merged.add(noiseless, 1.0 - free, [here])


def _array_in(store: BlobStore) -> Callable[[str], NDArray[np.float32]]:
    return lambda key: decode_array(store.get(key))


def assemble_picture(store: BlobStore, plan: RenderPlan, image: int) -> None:
    """Paste the cores of one image and store the picture with its recipe.

    The picture is the proof that the unit is done: all that belongs to it is written before it.
    """
    cores = [plan.core_pixels(index) for index in range(len(plan.decode.cores))]
    with tempfile.TemporaryDirectory(prefix="tilechord-") as folder:
        target = Path(folder) / "picture"
        quality = PictureQuality(store, plan, image)
        picture = assemble(
            plan.spec.height,
            plan.spec.width,
            cores,
            lambda index: decode_pixels(store.get(pixels_key(plan, image, index))),
            target,
            format=plan.spec.format,
            depth=plan.spec.bits,
            recipe=recipe_of(plan, image),
            observe=quality.add,
        )
        work = Work(Stage.PICTURE, image)
        record = {
            "height": picture.height,
            "width": picture.width,
            "format": picture.format,
            "sha256": picture.sha256,
            "size_bytes": picture.size_bytes,
            **store_views(store, plan, image, target),
        }
        store.put(f"{work.key(plan)}.json", canonical_json(record))
        # With those of its canvas, which is not kept as long as the picture.
        canvas = canvas_figures(store, plan, image)
        figures = worst([canvas, quality.measure().figures])
        store.put(quality_key(plan, image), canonical_json(figures))
        store.put_file(work.key(plan), target)


def recipe_of(plan: RenderPlan, image: int) -> Recipe:
    """The request with every default filled in: submitted again, it gives the same plan.

    ``image`` says which of its pictures this is.
    """
    spec = asdict(plan.spec)
    models = {"base": spec.pop("base_model"), "upscale": spec.pop("upscaler")}
    if restorer := spec.pop("restore"):
        models["restore"] = restorer
    spec["model"] = spec.pop("refine_model")
    if not spec["pyramid"]:
        del spec["pyramid"]  # files without one keep their bytes
    request = {name: value for name, value in spec.items() if value is not None}
    return Recipe(request | {"models": models}, plan.order_hash, __version__, image)
