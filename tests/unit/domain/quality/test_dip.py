from itertools import pairwise

import numpy as np
import pytest

from app.domain.quality import SeamAxis, SeamGrid, seam_axis
from app.domain.quality.dip import variance_dip
from tests.support.pictures import one_over_f, pixels, profiles, white_noise

BANDS = ((128, 256), (384, 512), (640, 768))


def blended(
    first: np.ndarray, second: np.ndarray, bands: tuple[tuple[int, int], ...]
) -> np.ndarray:
    """*first* and *second* alternating along the width, linear ramps inside *bands*."""
    weight = np.zeros(first.shape[1])
    is_second = False
    edges = [0, *(edge for band in bands for edge in band), first.shape[1]]
    for number, (left, right) in enumerate(pairwise(edges)):
        if number % 2 == 0:
            weight[left:right] = is_second
        else:
            ramp = (np.arange(right - left) + 0.5) / (right - left)
            weight[left:right] = 1 - ramp if is_second else ramp
            is_second = not is_second
    return np.asarray(first * (1 - weight) + second * weight)


def dip(picture: np.ndarray, bands=BANDS, **axis) -> float | None:
    height, width = picture.shape
    grid = SeamGrid(SeamAxis(height), SeamAxis(width, bands=bands, **axis))
    return variance_dip(profiles(pixels(picture)), grid)


def textures(correlation: float) -> tuple[np.ndarray, np.ndarray]:
    first, other = (white_noise(768, 896, seed=seed) for seed in (0, 1))
    rest = np.sqrt(1 - correlation**2)
    return first, 0.5 + correlation * (first - 0.5) + rest * (other - 0.5)


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [(0.0, 0.816), (0.5, 0.913), (1.0, 1.0)],
    ids=["independent", "half alike", "the same"],
)
def test_blending_textures_dips_as_theory_says(correlation, expected):
    picture = blended(*textures(correlation), BANDS)

    assert dip(picture) == pytest.approx(expected, abs=0.02)


def test_photographic_texture_dips_alike():
    first, second = (one_over_f(768, 896, seed=seed) for seed in (2, 3))

    assert dip(blended(first, second, BANDS)) == pytest.approx(0.816, abs=0.03)


def test_both_axes_follow_one_rule():
    picture = blended(*textures(0.0), BANDS).T
    grid = SeamGrid(SeamAxis(896, bands=BANDS), SeamAxis(768))

    assert variance_dip(profiles(pixels(picture)), grid) == pytest.approx(0.816, abs=0.02)


def test_a_picture_without_blends_has_no_dip():
    assert dip(white_noise(512, 512, seed=4), ()) is None


@pytest.mark.parametrize("shift", [0, 40, 80], ids=lambda shift: f"shifted by {shift}")
def test_bands_anywhere_else_show_no_dip(shift):
    picture = one_over_f(1024, 1024, seed=5)
    bands = tuple((start + shift, start + shift + 64) for start in range(64, 900, 192))

    assert dip(picture, bands) == pytest.approx(1.0, abs=0.03)


def test_a_rough_part_of_the_picture_does_not_hide_a_dip():
    picture = blended(*textures(0.0), BANDS)
    picture[:300, 60:460] = 0.5 + 2 * (picture[:300, 60:460] - 0.5)

    assert dip(picture) == pytest.approx(0.816, abs=0.03)


def test_a_band_across_the_border_counts_where_the_picture_wraps():
    picture = white_noise(512, 896, seed=6)
    picture[:, :64] = 0.5 + (picture[:, :64] - 0.5) / 2  # the half behind the border is smooth

    assert dip(picture, ((832, 960),), wraps=True) == pytest.approx(0.5**0.5, abs=0.03)
    assert dip(picture, ((832, 960),)) == pytest.approx(1.0, abs=0.03)


def test_a_picture_that_grows_rougher_has_no_dip():
    rougher = 0.5 + np.geomspace(0.2, 2, 896) * (white_noise(512, 896, seed=7) - 0.5)

    assert dip(rougher) == pytest.approx(1.0, abs=0.03)


def test_a_neighbouring_band_is_not_what_a_band_is_compared_with():
    first, second = textures(0.0)
    bands = ((128, 256), (264, 392))

    picture = blended(first, second, bands)

    assert dip(picture, bands) == pytest.approx(0.816, abs=0.03)


def test_a_flat_picture_has_no_dip_to_show():
    assert dip(np.full((512, 512), 0.5), ((200, 300),)) == pytest.approx(1.0)


def test_a_plans_axis_has_the_bands_of_its_tiles():
    picture = blended(*textures(0.0), BANDS)
    axis = seam_axis(896, [(0, 256), (128, 512), (384, 768), (640, 896)])

    found = variance_dip(profiles(pixels(picture)), SeamGrid(SeamAxis(768), axis))

    assert found == pytest.approx(0.816, abs=0.02)
