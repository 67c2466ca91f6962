import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.blending import Accumulator, BlendWeights, Spread
from app.domain.errors import RenderFailedError
from app.domain.geometry import Box
from app.domain.tiling import plan_tiles

CHANNELS = 2


@st.composite
def grids(draw):
    tile = draw(st.integers(8, 32))
    height, width = draw(st.integers(tile, 80)), draw(st.integers(tile, 80))
    overlap = draw(st.integers(1, tile // 2))
    boxes = plan_tiles(height, width, tile_height=tile, tile_width=tile, overlap=overlap)
    return height, width, boxes, draw(st.integers(0, 4))


@given(grids(), st.randoms(use_true_random=False))
def test_cutting_then_merging_gives_the_canvas_back_in_any_order(grid, random):
    height, width, boxes, margin = grid
    canvas = np.random.default_rng(0).random((CHANNELS, height, width), np.float32)
    merged = Accumulator(CHANNELS, Box(0, 0, height, width))

    for box in random.sample(boxes, len(boxes)):
        crop = canvas[(slice(None), *box.window)]
        merged.add(crop, box, BlendWeights(boxes, margin=margin).of(box))

    np.testing.assert_allclose(merged.result(), canvas, atol=1e-6)
    assert merged.spread().disagreement() < 1e-4


@given(grids())
def test_weights_are_one_at_the_canvas_border_and_never_leave_a_hole(grid):
    height, width, boxes, margin = grid
    total = np.zeros((height, width))

    for box in boxes:
        total[box.window] += BlendWeights(boxes, margin=margin).of(box)

    assert (total > 0).all()
    assert BlendWeights(boxes, margin=margin).of(boxes[0])[0, 0] == 1


def test_a_tiles_weight_is_symmetric_in_rows_and_columns():
    boxes = plan_tiles(96, 96, tile_height=48, tile_width=48, overlap=24)

    weight = BlendWeights(boxes, margin=3).of(boxes[4])

    np.testing.assert_allclose(weight, weight.T)
    np.testing.assert_allclose(weight, weight[::-1, ::-1])


def test_the_outer_margin_of_an_overlap_has_no_weight():
    boxes = [Box(0, 0, 8, 16), Box(0, 8, 8, 24)]

    weight = BlendWeights(boxes, margin=2).of(boxes[1])

    assert (weight[:, :2] == 0).all()
    assert (weight[:, 2:] > 0).all()


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
    height, width, boxes, margin = grid
    tiles = np.random.default_rng(1).random((len(boxes), CHANNELS, *box_shape(boxes)), np.float32)
    weights = BlendWeights(boxes, margin=margin)

    def merge(box):
        merged = Accumulator(CHANNELS, box)
        for tile, place in zip(tiles, boxes, strict=True):
            merged.add(tile, place, weights.of(place))
        return merged

    whole = merge(Box(0, 0, height, width))
    parts = [merge(Box(top, 0, min(top + band, height), width)) for top in range(0, height, band)]

    np.testing.assert_array_equal(
        np.concatenate([part.result() for part in parts], axis=1), whole.result()
    )
    total = sum((part.spread() for part in parts), start=Spread())
    assert total.disagreement() == pytest.approx(whole.spread().disagreement(), rel=1e-9)


def box_shape(boxes):
    return boxes[0].height, boxes[0].width
