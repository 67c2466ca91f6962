import numpy as np
import pytest

from app.domain.quality import SeamAxis, SeamGrid
from app.domain.quality.seams import Stairs, seam_scores
from tests.support.pictures import (
    checks,
    joints,
    lines,
    one_over_f,
    pixels,
    profiles,
    white_noise,
)

SIDE = 1024
TILE = 256


@pytest.fixture(scope="module")
def texture():
    return one_over_f(SIDE, SIDE, seed=0)


def score(luma, grid) -> float:
    worst = seam_scores(profiles(pixels(luma)), grid).worst
    assert worst is not None
    return worst


@pytest.mark.parametrize("seed", [0, 1, 2], ids=lambda seed: f"seed {seed}")
def test_only_a_picture_with_steps_between_its_tiles_has_a_high_score(seed):
    texture, grid = one_over_f(SIDE, SIDE, seed=seed), joints(SIDE, SIDE, TILE)

    clean, stepped = score(texture, grid), score(texture + checks(SIDE, SIDE, TILE, 4 / 255), grid)

    assert clean <= 1.3
    assert stepped >= 1.5


def test_a_step_counts_whether_it_goes_up_or_down(texture):
    grid = joints(SIDE, SIDE, TILE)

    up = score(texture + checks(SIDE, SIDE, TILE, 4 / 255), grid)
    down = score(texture - checks(SIDE, SIDE, TILE, 4 / 255), grid)

    assert up == pytest.approx(down, rel=0.2)


def test_a_step_far_below_the_grain_is_found_by_its_sign():
    grain = white_noise(SIDE, SIDE, seed=3, deviation=24 / 255)

    assert score(grain, joints(SIDE, SIDE, TILE)) <= 1.3
    assert score(grain + checks(SIDE, SIDE, TILE, 3 / 255), joints(SIDE, SIDE, TILE)) >= 1.8


def test_a_slope_is_no_step():
    slope = np.broadcast_to(np.linspace(0.1, 0.9, SIDE), (SIDE, SIDE))
    grain = white_noise(SIDE, SIDE, seed=4, deviation=2 / 255) - 0.5

    assert score(slope + grain, joints(SIDE, SIDE, TILE)) <= 1.3


def test_a_smoothed_step_is_found_at_a_large_scale():
    grain = white_noise(SIDE, SIDE, seed=5, deviation=6 / 255)
    ramp = np.clip((np.arange(SIDE) - SIDE / 2) / 16 + 0.5, 0, 1) * 3 / 255

    assert score(grain + ramp, lines(SIDE, SIDE, (SIDE // 2,))) >= 2.0


def test_contrast_does_not_change_the_score(texture):
    grid = joints(SIDE, SIDE, TILE)

    assert score(texture, grid) == pytest.approx(score(0.5 + (texture - 0.5) / 2, grid), abs=0.1)


def test_a_picture_of_flat_and_rough_parts_has_a_low_score():
    relief = np.where(one_over_f(SIDE, SIDE, seed=6, power=1.5) > 0.5, 1.0, 0.05)
    picture = 0.5 + relief * (one_over_f(SIDE, SIDE, seed=7) - 0.5)

    assert score(picture, joints(SIDE, SIDE, TILE)) <= 1.3
    assert score(picture + checks(SIDE, SIDE, TILE, 4 / 255), joints(SIDE, SIDE, TILE)) >= 1.5


def test_randomly_shifted_grids_have_a_score_of_one():
    found = profiles(pixels(one_over_f(SIDE, SIDE, seed=8)))
    shifts = np.random.default_rng(9).integers(0, TILE, (24, 2))

    scores = [
        seam_scores(found, SeamGrid(*(shifted(int(shift)) for shift in pair))).worst
        for pair in shifts
    ]

    # The largest of five scales: each of them alone has 1.
    assert np.mean(scores) == pytest.approx(1.1, abs=0.07)
    assert max(scores) <= 1.4


def shifted(shift: int) -> SeamAxis:
    return SeamAxis(SIDE, joints=tuple(range(64 + shift % 128, SIDE - 64, TILE)))


def test_the_true_grid_stands_out_among_shifted_ones(texture):
    found = profiles(pixels(texture + checks(SIDE, SIDE, TILE, 4 / 255)))
    true = seam_scores(found, joints(SIDE, SIDE, TILE)).worst

    others = [
        seam_scores(found, SeamGrid(shifted(shift), shifted(shift))).worst
        for shift in range(0, 128, 16)
    ]

    assert true > max(others)


def test_a_bad_kind_of_line_does_not_drown_among_sound_ones(texture):
    cut = SIDE // 2
    stepped = texture + np.where(np.arange(SIDE) < cut, 0, 6 / 255)
    sound = tuple(range(64, SIDE, 64))

    one_kind = SeamGrid(SeamAxis(SIDE), SeamAxis(SIDE, joints=(*sound, cut)))
    two_kinds = SeamGrid(SeamAxis(SIDE), SeamAxis(SIDE, joints=sound, cuts=(cut,)))

    assert score(stepped, two_kinds) > 1.5 > score(stepped, one_kind)


def test_a_picture_that_wraps_is_sound_across_its_border(texture):
    assert score(texture, lines(SIDE, SIDE, (0,), wraps=True)) <= 1.6


def test_the_border_is_a_seam_where_the_picture_wraps():
    grain = white_noise(SIDE, SIDE, seed=10, deviation=4 / 255)
    slope = grain + np.linspace(0, 0.1, SIDE)

    assert score(slope, lines(SIDE, SIDE, (0,), wraps=True)) >= 2.0
    assert seam_scores(profiles(pixels(slope)), lines(SIDE, SIDE, ())).worst is None


def test_each_segment_is_told_apart():
    picture = white_noise(512, 512, seed=11, deviation=6 / 255)
    picture[128:256, 200:] += 8 / 255

    found = seam_scores(profiles(pixels(picture)), lines(512, 512, (200, 330)))

    assert found.rows.shape == (0, 4)
    assert found.columns.shape == (2, 4)
    assert found.columns.argmax() == 1
    assert found.columns[0, 1] > 3


def test_a_raster_of_the_decoder_is_not_taken_for_seams():
    blocks = 3 / 255 * ((np.arange(SIDE) // 8) % 2)
    picture = white_noise(SIDE, SIDE, seed=12, deviation=6 / 255) + blocks
    placed = tuple(range(128, SIDE, 128))

    off, on = (
        score(picture, SeamGrid(SeamAxis(SIDE), SeamAxis(SIDE, joints=placed, raster=raster)))
        for raster in (1, 8)
    )

    assert off > 1.5
    assert on <= 1.3


def test_one_short_line_does_not_fail_by_chance_but_does_by_a_step():
    texture = one_over_f(512, 512, seed=15)
    sound = profiles(pixels(texture))
    places = range(64, 449, 16)

    scores = [seam_scores(sound, lines(512, 512, (place,))).worst for place in places]

    assert max(scores) <= 1.5
    stepped = texture + np.where(np.arange(512) < 256, 0, 12 / 255)
    assert score(stepped, lines(512, 512, (256,))) > 1.5


def test_a_flat_picture_has_no_steps():
    assert score(np.full((512, 512), 0.5), joints(512, 512, 128)) <= 0.51


def test_what_cannot_be_told_has_no_score():
    small = profiles(pixels(white_noise(64, 64, seed=13)))

    assert seam_scores(small, joints(64, 64, 4)).worst is None


def test_scales_too_wide_for_the_grid_are_left_out():
    picture = profiles(pixels(white_noise(512, 512, seed=14)))

    found = seam_scores(picture, joints(512, 512, 32))

    assert found.worst is not None
    assert np.isfinite(found.columns).all()


def test_a_step_is_measured_beyond_the_slope_it_stands_on():
    stairs = np.float32([[0, 1, 2, 3, 9, 10, 11, 12]])

    found = Stairs(stairs, wraps=False).steps(np.arange(8), 1)[:, 0]

    assert found[4] == 5  # 6 up, less the slope of 1
    assert np.isnan(found[[0, 1, 7]]).all()
    np.testing.assert_array_equal(found[[2]], [0])
