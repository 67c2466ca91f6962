"""Loss of detail where tiles are blended: the mean of different textures is smoother than each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from app.domain.quality.lines import SeamAxis, SeamGrid
from app.domain.quality.profiles import FINE, Floats, Profiles


def variance_dip(profiles: Profiles, grid: SeamGrid) -> float | None:
    """Detail inside the blend bands over detail beside them; 1 where nothing is lost.

    The square root of the ratio of high-pass energies. Each segment of a band is compared with as
    much on either side of it, and means are geometric: a few rough parts of a photograph would
    decide any other. Two textures of correlation rho under linear ramps give about
    ``sqrt(2/3 + rho/3)``. ``None`` where nothing is blended.
    """
    pairs = ((profiles.rows, grid.rows), (profiles.columns, grid.columns))
    ratios = np.concatenate([_log_ratios(profile.detail, axis) for profile, axis in pairs])
    return math.exp(0.5 * float(ratios.mean())) if ratios.size else None


def _log_ratios(detail: Floats, axis: SeamAxis) -> NDArray[np.float64]:
    """Logarithms of inside over beside, of every band and segment."""
    bands = [(-(-first // FINE), last // FINE) for first, last in axis.bands]
    is_blended = np.zeros(detail.shape[1], np.bool_)
    for first, last in bands:
        is_blended[_cells(first, last, axis, detail)] = True
    found = [np.empty(0)]
    for first, last in bands:
        inside = _cells(first, last, axis, detail)
        sides = (
            _cells(2 * first - last, first, axis, detail),
            _cells(last, 2 * last - first, axis, detail),
        )
        beside = [
            detail[:, free].mean(axis=1) for side in sides if (free := side[~is_blended[side]]).size
        ]
        if inside.size and beside:
            found.append(detail[:, inside].mean(axis=1) - np.mean(beside, axis=0))
    return np.concatenate(found)


def _cells(first: int, last: int, axis: SeamAxis, detail: Floats) -> NDArray[np.int64]:
    """Indices of the cells in ``[first, last)`` that are on the picture."""
    index, count = np.arange(first, last), detail.shape[1]
    on_picture: NDArray[np.int64] = index % count
    return on_picture if axis.wraps else index[index == on_picture]
