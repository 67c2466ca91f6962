from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.tiling import axis_edges, axis_starts, plan_cores, plan_tiles


@st.composite
def axes(draw):
    tile = draw(st.integers(2, 200))
    return draw(st.integers(1, 2000)), tile, draw(st.integers(0, tile - 1))


@given(axes())
def test_tiles_cover_the_axis_and_overlap_by_at_least_what_was_asked(axis):
    length, tile, overlap = axis
    starts = axis_starts(length, tile, overlap)

    assert starts[0] == 0
    assert len(starts) == 1 or starts[-1] + tile == length
    assert all(0 < b - a <= tile - overlap for a, b in pairwise(starts))


@given(axes())
def test_no_smaller_number_of_tiles_would_do(axis):
    length, tile, overlap = axis
    fewer = len(axis_starts(length, tile, overlap)) - 1

    assert fewer == 0 or fewer * tile - (fewer - 1) * overlap < length


@given(axes())
def test_strides_differ_by_at_most_one(axis):
    starts = axis_starts(*axis)
    strides = np.diff(starts)

    assert strides.size == 0 or strides.max() - strides.min() <= 1


def test_tiles_come_in_row_major_order_and_share_one_shape():
    boxes = plan_tiles(40, 96, tile_height=32, tile_width=48, overlap=8)

    assert boxes == [
        Box(0, 0, 32, 48),
        Box(0, 24, 32, 72),
        Box(0, 48, 32, 96),
        Box(8, 0, 40, 48),
        Box(8, 24, 40, 72),
        Box(8, 48, 40, 96),
    ]


@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 80))
def test_cores_partition_the_canvas_exactly_once(height, width, core):
    covered = np.zeros((height, width), int)

    for box in plan_cores(height, width, core=core):
        covered[box.window] += 1

    assert (covered == 1).all()


@given(st.integers(1, 5000), st.integers(1, 600))
def test_cores_are_no_larger_than_asked_and_nearly_equal(length, core):
    sizes = np.diff(axis_edges(length, core))

    assert sizes.max() <= core
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("overlap", [-1, 64, 100], ids=["negative", "whole tile", "more"])
def test_an_overlap_outside_the_tile_is_refused(overlap):
    with pytest.raises(InvalidPlanError, match=rf"^overlap must be in \[0, 64\), got {overlap}$"):
        axis_starts(200, 64, overlap)
