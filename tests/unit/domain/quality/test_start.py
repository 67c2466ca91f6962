import numpy as np
import pytest

from app.domain.geometry import Box
from app.domain.quality.start import low_frequency_drift, repetition
from tests.support.pictures import one_over_f

CELLS = 64
TILES = [Box(top, left, top + 128, left + 128) for top in range(0, 512, 128) for left in (0, 128)]


def picture(seed: int) -> np.ndarray:
    """Cells ``(64, 64, 3)`` of a picture of 512 px."""
    channels = [one_over_f(CELLS, CELLS, seed=3 * seed + channel) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def test_a_picture_does_not_drift_from_itself():
    assert low_frequency_drift(picture(0), picture(0)) == 0


@pytest.mark.parametrize("shift", [3 / 255, -9 / 255], ids=["brighter", "darker"])
def test_a_constant_shift_is_measured_as_it_is(shift):
    start = picture(0)

    assert low_frequency_drift(start + np.float32(shift), start) == pytest.approx(abs(shift))


def test_a_shift_of_one_colour_counts_as_its_part_of_three():
    start = picture(0)
    tinted = start + np.float32([0, 0, 0.03])

    assert low_frequency_drift(tinted, start) == pytest.approx(0.03 / 3**0.5, abs=1e-6)


def test_detail_is_no_drift():
    start = picture(0)
    detail = np.float32(0.1) * (np.indices((CELLS, CELLS)).sum(0) % 2 - 0.5)[..., None]

    assert low_frequency_drift(start + detail.astype(np.float32), start) < 1e-6


def test_shifts_that_cancel_over_the_picture_do_not_cancel_in_the_drift():
    start = picture(0)
    halves = np.where(np.arange(CELLS) < CELLS // 2, -0.02, 0.02)[:, None, None]

    found = low_frequency_drift(start + halves.astype(np.float32), start)

    assert found == pytest.approx(0.02, rel=0.1)


def test_an_enlarged_picture_is_blurred_by_as_many_times_more():
    start = picture(0)
    waves = np.where(np.arange(CELLS) // 8 % 2, -0.02, 0.02)[:, None, None].astype(np.float32)

    plain, enlarged = (low_frequency_drift(start + waves, start, upscale=n) for n in (1, 2))

    assert plain > 0.009
    assert enlarged == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("rows", "upscale"), [(7, 1), (15, 2)], ids=["plain", "enlarged"])
def test_a_picture_smaller_than_the_blur_has_no_drift(rows, upscale):
    small = picture(0)[:rows]

    assert low_frequency_drift(small, small, upscale=upscale) is None


def test_a_picture_made_of_one_tile_repeats_itself():
    start = picture(0)
    repeated = np.tile(start[:16, :16], (4, 4, 1))

    assert repetition(repeated, start, TILES) > 0.4


def test_a_picture_like_its_start_does_not_repeat_itself():
    start = picture(0)
    grain = np.random.default_rng(1).normal(0, 2 / 255, start.shape).astype(np.float32)

    assert repetition(start + grain, start, TILES) == pytest.approx(0, abs=0.05)


def test_a_subject_in_only_two_tiles_is_enough():
    start = picture(0)
    copied = start.copy()
    copied[48:64, 16:32] = start[:16, :16]

    assert repetition(copied, start, TILES) > 0.4


def test_what_the_start_repeats_already_does_not_count():
    repeated = np.tile(picture(0)[:16, :16], (4, 4, 1))

    assert repetition(repeated, repeated, TILES) == pytest.approx(0, abs=1e-6)


def test_a_common_slope_is_no_repetition():
    start = picture(0)
    slope = np.linspace(0, 2, CELLS, dtype=np.float32)[:, None, None]

    assert repetition(start + slope, start, TILES) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    "tiles", [[], TILES[:1], [Box(0, 0, 8, 8)] * 2], ids=["no tile", "one tile", "tiny tiles"]
)
def test_without_two_tiles_to_compare_there_is_no_repetition(tiles):
    assert repetition(picture(0), picture(1), tiles) is None


def test_flat_tiles_do_not_resemble_each_other():
    flat = np.full((CELLS, CELLS, 3), 0.5, np.float32)

    assert repetition(flat, picture(0), TILES) is None


def test_tiles_cut_short_by_the_border_are_compared_too():
    start = picture(0)
    short = [Box(0, 0, 128, 128), Box(384, 0, 490, 128)]

    assert repetition(picture(1), start, short) is not None


def test_thousands_of_tiles_are_compared_by_a_sample():
    tile = [Box(top, left, top + 64, left + 64) for top in range(448) for left in range(10)]

    assert repetition(picture(0), picture(1), tile) is not None
