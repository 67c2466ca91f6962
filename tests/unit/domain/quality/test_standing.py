"""How the benchmark of wrapped pictures ranks a line among the other lines of its picture."""

import numpy as np
import pytest

from app.domain.quality import SeamAxis, SeamGrid, seam_scores
from tests.benchmarks.standing import raw_score, standing
from tests.support.pictures import one_over_f, pixels, profiles

HEIGHT, WIDTH, RASTER = 384, 768, 8


@pytest.fixture(scope="module")
def textures():
    return [one_over_f(HEIGHT, WIDTH, seed=seed) for seed in range(8)]


def test_where_nothing_meets_a_line_ranks_anywhere(textures):
    ranks = [standing(pixels(one), RASTER, column=WIDTH // 2).rank for one in textures]

    assert np.mean(ranks) == pytest.approx(0.5, abs=0.2)
    assert max(ranks) - min(ranks) > 0.4


def test_a_step_ranks_above_all_other_lines(textures):
    step = np.where(np.arange(WIDTH) < WIDTH // 2, 0, 8 / 255)

    found = [standing(pixels(one + step), RASTER, column=WIDTH // 2) for one in textures]

    assert min(one.rank for one in found) >= 0.95
    assert all(one.usual < 1.2 for one in found)


def test_a_step_along_one_of_two_lines_ranks_high(textures):
    step = np.where(np.arange(HEIGHT) < HEIGHT // 2, 0, 12 / 255)[:, None]

    found = standing(pixels(textures[0] + step), RASTER, row=HEIGHT // 2, column=WIDTH // 2)

    assert found.rank >= 0.95
    assert found.score > 1.5


def test_the_score_is_that_of_the_picture_and_the_raw_one_of_its_segments(textures):
    grid = SeamGrid(
        SeamAxis(HEIGHT, raster=RASTER), SeamAxis(WIDTH, joints=(WIDTH // 2,), raster=RASTER)
    )

    found = standing(pixels(textures[0]), RASTER, column=WIDTH // 2)

    assert found.score == seam_scores(profiles(pixels(textures[0])), grid).worst
    assert 3 * found.raw**2 + 8 == pytest.approx(11 * found.score**2)


@pytest.mark.parametrize(
    ("segments", "raw"), [(3, 2.36), (4, 2.18), (8, 1.87), (16, 1.70), (64, 1.55)], ids=str
)
def test_what_the_gate_asks_of_segments_alone(segments, raw):
    assert raw_score(1.5, segments) == pytest.approx(raw, abs=0.005)


def test_no_sound_segment_changes_a_score_of_one():
    assert raw_score(1.0, 3) == 1.0
