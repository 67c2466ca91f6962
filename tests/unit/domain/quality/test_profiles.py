from itertools import pairwise

import numpy as np
import pytest

from app.domain.quality import CELL, SEGMENT
from app.domain.quality.profiles import FINE
from tests.support.pictures import one_over_f, pixels, profiles, white_noise

LUMA = np.array([0.2126, 0.7152, 0.0722])


def colours(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def means(values: np.ndarray, segment: int) -> np.ndarray:
    """Means over segments of the first axis, the remainder in the last; by plain slices."""
    count = max(1, len(values) // segment)
    ends = [*(segment * index for index in range(count)), len(values)]
    return np.stack([values[a:b].mean(axis=0) for a, b in pairwise(ends)])


@pytest.mark.parametrize(
    ("height", "width"),
    [(256, 384), (300, 391), (77, 90), (64, 500)],
    ids=["whole segments", "remainders", "less than a segment", "a strip"],
)
def test_profiles_are_means_over_segments_of_the_other_axis(height, width):
    picture = colours(height, width)
    luma = picture @ LUMA / 255

    found = profiles(picture)

    np.testing.assert_allclose(found.columns.luma, means(luma, SEGMENT), atol=1e-6)
    np.testing.assert_allclose(found.rows.luma, means(luma.T, SEGMENT), atol=1e-6)


def test_cells_are_mean_colours():
    picture = colours(50, 70)

    found = profiles(picture).cells

    whole = picture[:48, :64].reshape(6, CELL, 8, CELL, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(found, whole, atol=0.1 / 255)


def test_detail_is_the_mean_logarithm_of_the_squared_laplacian():
    picture = colours(256, 132)
    luma = picture @ LUMA / 255
    cells = luma.reshape(64, FINE, 33, FINE).mean(axis=(1, 3))
    around = cells[:-2, 1:-1] + cells[2:, 1:-1] + cells[1:-1, :-2] + cells[1:-1, 2:]
    detail = np.log((cells[1:-1, 1:-1] - around / 4) ** 2 + 1.25 / 12 / 16 / 255**2)

    found = profiles(picture)

    np.testing.assert_allclose(found.columns.detail[0, 1:-1], detail[:31].mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(found.columns.detail[1, 1:-1], detail[31:].mean(axis=0), atol=1e-3)
    whole_rows = np.pad(detail, ((0, 0), (1, 1)), "edge").mean(axis=1)
    np.testing.assert_allclose(found.rows.detail[0, 1:-1], whole_rows, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 7, 24, 64, 300], ids=lambda rows: f"pieces of {rows}")
def test_how_the_picture_is_cut_into_pieces_does_not_matter(rows):
    picture = colours(300, 270)

    whole, pieces = profiles(picture, 300), profiles(picture, rows)

    np.testing.assert_allclose(pieces.rows.luma, whole.rows.luma, atol=1e-7)
    np.testing.assert_allclose(pieces.columns.luma, whole.columns.luma, atol=1e-7)
    np.testing.assert_allclose(pieces.rows.detail, whole.rows.detail, atol=1e-4)
    np.testing.assert_allclose(pieces.columns.detail, whole.columns.detail, atol=1e-4)
    np.testing.assert_array_equal(pieces.cells, whole.cells)


def test_both_axes_follow_one_rule():
    picture = pixels(one_over_f(256, 384, seed=1))

    upright, turned = profiles(picture), profiles(picture.swapaxes(0, 1))

    np.testing.assert_allclose(upright.rows.luma, turned.columns.luma, atol=1e-6)
    np.testing.assert_allclose(
        upright.rows.detail[:, 1:-1],
        turned.columns.detail[:, 1:-1],
        atol=0.3,  # their borders
    )


def test_profiles_are_small_beside_their_picture():
    picture = pixels(white_noise(512, 512, seed=0))

    found = profiles(picture)

    arrays = (
        *(found.rows.luma, found.rows.detail),
        *(found.columns.luma, found.columns.detail, found.cells),
    )
    assert sum(array.nbytes for array in arrays) < 0.3 * 512 * 512
