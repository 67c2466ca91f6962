import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.blending import Accumulator, MergedBand, Spread
from app.domain.errors import RenderFailedError
from app.domain.geometry import Box, parts
from app.domain.grid import Axis, Blend, Grid
from app.domain.plan import Merge, Phase
from app.domain.schedule import Steps
from app.domain.tiling import plan_axis

CHANNELS = 2


@st.composite
def grids(draw):
    tile = draw(st.integers(8, 32))
    height, width = draw(st.integers(tile, 80)), draw(st.integers(tile, 80))
    overlap = draw(st.integers(1, tile // 2))
    wraps = draw(st.sampled_from([(False, False), (False, True), (True, True)]))
    rows, columns = (
        plan_axis(length, tile, overlap, wraps=closes)
        for length, closes in zip((height, width), wraps, strict=True)
    )
    margin = draw(st.integers(0, 4))
    return Grid(rows, columns, draw(st.sampled_from([Blend.RAMP, Blend.UNIFORM])), margin)


def canvas_of(grid):
    return Box(0, 0, grid.rows.length, grid.columns.length)


@given(grids(), st.randoms(use_true_random=False))
def test_cutting_then_merging_gives_the_canvas_back_in_any_order(grid, random):
    box = canvas_of(grid)
    canvas = np.random.default_rng(0).random((CHANNELS, box.height, box.width), np.float32)
    merged = Accumulator(CHANNELS, box)

    for index in random.sample(range(len(grid)), len(grid)):
        for part in parts(grid.tiles[index], box):
            crop = canvas[(slice(None), *part.on_canvas.window)]
            merged.add(crop, part.on_canvas, grid.weight(index)[part.in_box.window])

    np.testing.assert_array_equal(merged.result().astype(np.float32), canvas)
    assert merged.spread().disagreement() < 1e-4


@given(grids())
def test_tiles_that_say_the_same_leave_it_as_it_is_and_do_not_disagree(grid):
    box = canvas_of(grid)
    merged = Accumulator(1, box)

    for index, tile in enumerate(grid.tiles):
        for part in parts(tile, box):
            weight = grid.weight(index)[part.in_box.window]
            merged.add(np.full((1, *weight.shape), 0.3), part.on_canvas, weight)

    np.testing.assert_allclose(merged.result(), 0.3, rtol=0, atol=1e-12)
    assert merged.spread().shared_variance < 1e-12


@given(grids())
def test_weights_never_leave_a_hole(grid):
    box = canvas_of(grid)
    total = np.zeros((box.height, box.width))

    for index, tile in enumerate(grid.tiles):
        for part in parts(tile, box):
            total[part.on_canvas.window] += grid.weight(index)[part.in_box.window]

    assert (total > 0).all()


def test_ramps_of_neighbours_sum_to_one_across_the_end_of_an_axis_that_wraps():
    axis = plan_axis(96, 48, 16, wraps=True)
    total = np.zeros(96)

    for index, (start, end) in enumerate(axis.spans):
        total[np.arange(start, end) % 96] += axis.weight(index, Blend.RAMP, 0)

    np.testing.assert_allclose(total, 1.0)


def test_weights_are_one_at_the_canvas_border():
    axis = plan_axis(96, 48, 16, wraps=False)

    assert axis.weight(0, Blend.RAMP, 3)[0] == 1
    assert axis.weight(len(axis.spans) - 1, Blend.RAMP, 3)[-1] == 1


def test_a_tiles_weight_is_symmetric_in_rows_and_columns():
    axis = plan_axis(96, 48, 24, wraps=False)

    weight = Grid(axis, axis, margin=3).weight(4)

    np.testing.assert_allclose(weight, weight.T)
    np.testing.assert_allclose(weight, weight[::-1, ::-1])


def test_the_outer_margin_of_an_overlap_has_no_weight():
    axis = Axis(24, ((0, 16), (8, 24)))

    weight = axis.weight(1, Blend.RAMP, margin=2)

    assert (weight[:2] == 0).all()
    assert (weight[2:] > 0).all()


def test_a_pasted_tile_weighs_one_where_it_is_kept_and_nothing_elsewhere():
    weight = Axis(24, ((0, 16), (8, 24)), kept=((0, 10), (10, 24))).weight(1, Blend.PASTE, 0)

    np.testing.assert_array_equal(weight, [0, 0, *[1] * 14])


def test_averaged_noise_keeps_the_variance_of_one_tile():
    random = np.random.default_rng(0)
    shared, *own = (random.standard_normal((1, 64, 64)).astype(np.float32) for _ in range(3))
    box, half = Box(0, 0, 64, 64), np.full((64, 64), 0.5)
    merged = Accumulator(1, box)

    for noise in own:  # a correlation of 0.6 between the two
        merged.add(np.sqrt(0.6) * shared + np.sqrt(0.4) * noise, box, half)

    assert merged.result().std() == pytest.approx(np.sqrt(0.8), abs=0.02)
    assert merged.correlation() == pytest.approx(0.6, abs=0.03)
    assert merged.noise_result(0.6).std() == pytest.approx(1.0, abs=0.02)


def test_tiles_that_agree_are_merged_without_a_correction():
    box, half = Box(0, 0, 8, 8), np.full((8, 8), 0.5)
    noise = np.random.default_rng(0).standard_normal((1, 8, 8))
    merged = Accumulator(1, box)

    merged.add(noise, box, half)
    merged.add(noise, box, half)

    np.testing.assert_allclose(merged.noise_result(merged.correlation()), noise, rtol=1e-14)


def test_disagreement_is_the_spread_of_overlapping_tiles():
    boxes = [Box(0, 0, 4, 16), Box(0, 8, 4, 24)]
    canvas = Accumulator(1, Box(0, 0, 4, 24))
    ones = np.ones((4, 16))

    canvas.add(np.zeros((1, 4, 16), np.float32), boxes[0], ones)
    canvas.add(np.full((1, 4, 16), 2, np.float32), boxes[1], ones)

    # In the overlap 0 and 2 spread by 1 around their mean; the canvas is 0, 1, 2 in thirds.
    assert canvas.spread().disagreement() == pytest.approx(1 / np.sqrt(2 / 3))


def test_a_missing_tile_is_an_error_and_not_a_black_hole():
    canvas = Accumulator(1, Box(0, 0, 4, 8))
    canvas.add(np.zeros((1, 4, 4), np.float32), Box(0, 0, 4, 4), np.ones((4, 4)))

    with pytest.raises(RenderFailedError, match=r"^the canvas has pixels that no tile covers$"):
        canvas.result()


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=["nan", "infinity"])
def test_a_tile_that_is_not_finite_is_refused(value):
    canvas = Accumulator(1, Box(0, 0, 4, 4))
    tile = np.zeros((1, 4, 4), np.float32)
    tile[0, 2, 1] = value

    with pytest.raises(RenderFailedError, match=r"^tile at row 0, column 0 is not finite$"):
        canvas.add(tile, Box(0, 0, 4, 4), np.ones((4, 4)))


@given(grids(), st.integers(1, 40))
def test_a_canvas_merged_in_bands_is_the_canvas_merged_whole(grid, band):
    height, width = grid.rows.length, grid.columns.length
    shape = (grid.tiles[0].height, grid.tiles[0].width)
    tiles = np.random.default_rng(1).random((len(grid), 2 * CHANNELS, *shape), np.float32)
    phase = Phase(grid, Steps((1,), (2.0, 1.0), 1.0), Merge.CLEAN)

    def merge(box):
        merged = MergedBand(phase, CHANNELS, box)
        for index, place in enumerate(grid.tiles):
            merged.add(tiles[index], grid.weight(index), parts(place, canvas_of(grid)))
        return merged

    whole = merge(Box(0, 0, height, width))
    bands = [merge(Box(top, 0, min(top + band, height), width)) for top in range(0, height, band)]

    np.testing.assert_array_equal(
        np.concatenate([part.canvas(0.9) for part in bands], axis=1), whole.canvas(0.9)
    )
    total = sum((part.spread() for part in bands), start=Spread())
    assert total.disagreement() == pytest.approx(whole.spread().disagreement(), rel=1e-9)


def test_a_phase_that_ends_noisy_is_merged_from_its_clean_part_and_its_noise():
    axis = Axis(8, ((0, 8),))
    phase = Phase(Grid(axis, axis), Steps((9, 5), (4.0, 3.0, 2.0), 1.0), Merge.CLEAN)
    tile = np.concatenate([np.full((1, 8, 8), 5), np.full((1, 8, 8), 0.25)]).astype(np.float32)
    merged = MergedBand(phase, 1, Box(0, 0, 8, 8))

    merged.add(tile, phase.grid.weight(0), parts(phase.tiles[0], Box(0, 0, 8, 8)))

    np.testing.assert_allclose(merged.canvas(0.5), 5 + 2.0 * 0.25)
