import numpy as np
import pytest

from app.domain.grid import Blend
from app.domain.quality.planned import seams_of, tiles_of
from app.domain.spec import Mode, Wrap
from tests.unit.domain.cards import plan

SMALL = {"height": 768, "width": 1280, "tile": 512, "overlap": 128}


def test_joints_lie_in_the_middle_of_what_tiles_share():
    columns = seams_of(plan(**SMALL)).columns

    assert columns.length == 1280
    assert columns.joints == (448, 832)
    assert columns.bands == ((400, 496), (784, 880))  # 128 px, less a margin of 2 latents


def test_cores_end_at_cuts():
    columns = seams_of(plan(**SMALL)).columns

    assert columns.cuts == (424, 848)


def test_both_axes_follow_one_rule():
    upright, turned = (
        seams_of(plan(**SMALL)),
        seams_of(plan(**SMALL | {"height": 1280, "width": 768})),
    )

    assert (upright.rows, upright.columns) == (turned.columns, turned.rows)


def test_an_enlarged_picture_has_its_lines_further_apart():
    plain = seams_of(plan(**SMALL)).columns
    enlarged = seams_of(plan(**SMALL | {"height": 1536, "width": 2560, "upscale": 2})).columns

    assert enlarged.joints == tuple(2 * line for line in plain.joints)
    assert enlarged.cuts == tuple(2 * line for line in plain.cuts)
    assert (plain.raster, enlarged.raster) == (8, 16)


def test_a_uniform_blend_jumps_at_the_edges_of_its_tiles():
    columns = seams_of(plan(**SMALL, blend=Blend.UNIFORM)).columns

    assert columns.joints == (384, 512, 768, 896)
    assert columns.bands == ((384, 512), (768, 896))


def test_one_window_has_neither_joints_nor_cuts():
    grid = seams_of(plan(height=512, width=640, mode=Mode.DIRECT))

    assert grid.rows.lines == grid.columns.lines == ()


def test_a_panorama_has_a_line_where_left_meets_right():
    grid = seams_of(plan(**SMALL, wrap=Wrap.X))

    assert grid.columns.wraps
    assert grid.columns.cuts[0] == 0
    assert len(grid.columns.joints) == len(grid.columns.bands) == 4
    assert not grid.rows.wraps
    assert 0 not in grid.rows.lines


@pytest.mark.parametrize("mode", list(Mode), ids=str)
def test_the_lines_of_every_mode_lie_inside_its_picture(mode):
    size = {"height": 500, "width": 700} if mode is Mode.DIRECT else {"height": 750, "width": 1270}

    grid = seams_of(plan(**SMALL | size, mode=mode))

    for axis, side in ((grid.rows, size["height"]), (grid.columns, size["width"])):
        assert axis.length == side
        assert all(0 < line < side and line % 8 == 0 for line in axis.lines)


def test_only_the_last_phase_counts():
    spot, refine = plan(**SMALL, mode=Mode.SPOT), plan(**SMALL)

    assert len(spot.phases) > 1
    assert seams_of(spot) == seams_of(refine)


def test_tiles_are_told_in_pixels_and_end_with_the_picture():
    render = plan(**SMALL | {"height": 1500, "upscale": 2, "width": 2500})
    covered = np.zeros((1500, 2500), np.bool_)

    for tile in tiles_of(render):
        covered[tile.window] = True

    assert covered.all()
    assert max(tile.bottom for tile in tiles_of(render)) == 1500
    assert max(tile.right for tile in tiles_of(render)) == 2500
