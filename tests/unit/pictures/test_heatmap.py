import numpy as np

from app.domain.quality import SeamAxis, SeamGrid, SeamScores
from app.pictures.heatmap import draw_seams

NONE = np.empty((0, 2))
PREVIEW = np.full((256, 256, 3), 200, np.uint8)
GRID = SeamGrid(SeamAxis(256), SeamAxis(256, joints=(100,)))


def drawn(scores, preview=PREVIEW, grid=GRID):
    return np.asarray(draw_seams(preview, grid, SeamScores(1.0, NONE, np.array(scores)))).astype(
        int
    )


def test_the_picture_is_dimmed_but_stays():
    assert (drawn([[1.0, 1.0]])[:, :90] == 90).all()


def test_a_segment_that_stands_out_is_red_and_one_that_does_not_is_blue():
    red, _, blue = np.moveaxis(drawn([[0.5, 4.0]])[:, 100], -1, 0)

    assert (blue[:128] > red[:128]).all()
    assert (red[128:] > blue[128:] + 100).all()


def test_a_higher_score_is_brighter():
    brightness = [drawn([[score, score]])[64, 100].sum() for score in (0.0, 1.5, 2.5)]

    assert brightness == sorted(brightness)
    assert len(set(brightness)) == 3


def test_a_segment_that_cannot_be_told_is_left_out():
    picture = drawn([[np.nan, 4.0]])

    assert (picture[:128] == 90).all()
    assert (picture[128:, 100] != 90).any()


def test_lines_lie_where_they_are_in_a_reduced_picture():
    picture = drawn([[4.0, 4.0]], preview=PREVIEW[:128, :128])

    columns = np.flatnonzero((picture != 90).any(axis=(0, 2)))
    assert columns.tolist() == [49, 50]


def test_the_last_segment_of_a_line_holds_the_remainder():
    grid = SeamGrid(SeamAxis(300), SeamAxis(256, joints=(100,)))

    picture = drawn([[np.nan, 4.0]], np.full((300, 256, 3), 200, np.uint8), grid)

    assert np.flatnonzero((picture != 90).any(axis=(1, 2))).tolist() == list(range(128, 300))


def test_both_axes_follow_one_rule():
    turned = SeamGrid(GRID.columns, GRID.rows)
    scores = np.array([[0.5, 4.0]])

    upright = draw_seams(PREVIEW, GRID, SeamScores(1.0, NONE, scores))
    flat = draw_seams(PREVIEW, turned, SeamScores(1.0, scores, NONE))

    np.testing.assert_array_equal(np.asarray(flat), np.asarray(upright).swapaxes(0, 1))


def test_a_seam_is_not_hidden_under_a_sound_line_that_crosses_it():
    grid = SeamGrid(SeamAxis(256, joints=(64,)), SeamAxis(256, joints=(100,)))
    scores = SeamScores(1.0, np.array([[0.0, 0.0]]), np.array([[4.0, 4.0]]))

    crossing = np.asarray(draw_seams(PREVIEW, grid, scores))[64, 100]

    assert crossing[0] > 200
