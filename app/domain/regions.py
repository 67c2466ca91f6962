"""Which prompt paints which part of the picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.domain.spec import Region, RenderSpec

Array = NDArray[np.float32]


def prompt_weights(
    spec: RenderSpec,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    masks: Mapping[int, Array],
) -> Array:
    """Weight of every prompt at every position, ``(1 + regions, h, w)`` in ``[0, 1]``.

    *rows* ``(h,)`` and *columns* ``(w,)`` are positions in pixels of the picture. The first
    layer is the picture's own prompt, which paints what no region covers. Layers sum to one.
    *masks* holds ``(H, W)`` in ``[0, 1]`` by the number of the region.
    """
    inside = [
        _inside(region, spec, rows, columns) * _sampled(region, masks.get(number), rows, columns)
        for number, region in enumerate(spec.regions)
    ]
    uncovered = 1.0 - np.max([np.zeros((len(rows), len(columns))), *inside], axis=0)
    strengths = [region.weight * part for region, part in zip(spec.regions, inside, strict=True)]
    layers = np.stack([uncovered, *strengths])
    weights: Array = (layers / layers.sum(axis=0)).astype(np.float32)
    return weights


def _inside(
    region: Region, spec: RenderSpec, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    box = region.box
    vertical = _fade(rows, box.top, box.bottom, region.feather, spec.height, spec.wrap.rows)
    across = _fade(columns, box.left, box.right, region.feather, spec.width, spec.wrap.columns)
    return np.outer(vertical, across)


def _fade(
    positions: NDArray[np.float64], first: int, last: int, feather: int, length: int, wraps: bool
) -> NDArray[np.float64]:
    """One inside ``[first, last)``, fading over *feather* around its ends; not at a border."""
    if first <= 0 and last >= length:
        return np.ones_like(positions)
    width = max(feather, 1e-9)  # no feather is a step
    laps = (-length, 0, length) if wraps else (0,)
    fades = []
    for lap in laps:
        rising = np.clip((positions + lap - first) / width + 0.5, 0.0, 1.0)
        falling = np.clip((last - positions - lap) / width + 0.5, 0.0, 1.0)
        is_open = not wraps
        rising = np.ones_like(rising) if is_open and first <= 0 else rising
        falling = np.ones_like(falling) if is_open and last >= length else falling
        fades.append(rising * falling)
    return np.asarray(np.max(fades, axis=0))


def _sampled(
    region: Region,
    mask: Array | None,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> NDArray[np.float64] | float:
    """The region's mask, stretched over its box, at the nearest sample; one without a mask."""
    if mask is None:
        return 1.0
    box = region.box
    row = (rows - box.top) / box.height * mask.shape[0]
    column = (columns - box.left) / box.width * mask.shape[1]
    indices = (
        np.clip(np.floor(place), 0, size - 1).astype(int)
        for place, size in zip((row, column), mask.shape, strict=True)
    )
    return mask[np.ix_(*indices)].astype(np.float64)
