from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidPlanError
from app.domain.tiling import axis_edges, axis_starts, plan_axis, plan_cores, plan_windows


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


@given(axes(), st.sampled_from([1, 2, 4]))
def test_starts_lie_on_the_models_grid(axis, alignment):
    length, tile, overlap = (alignment * part for part in axis)

    starts = axis_starts(length, tile, overlap, alignment=alignment)

    assert all(start % alignment == 0 for start in starts)
    assert all(b - a <= tile - overlap for a, b in pairwise(starts))


@given(axes())
def test_tiles_of_an_axis_that_wraps_close_the_ring(axis):
    length, tile, overlap = axis
    spans = plan_axis(length, tile, overlap, wraps=True).spans

    following = [*(start for start, _ in spans[1:]), length]
    assert len(spans) == 1 or all(
        end - start >= overlap for (_, end), start in zip(spans, following, strict=True)
    )
    assert {last - first for first, last in spans} == {min(tile, length)}


@given(axes(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_shifted_windows_keep_every_latent_once_and_have_the_full_size(axis, wraps, shift):
    length, tile, _ = axis
    windows = plan_windows(length, tile, int(tile * shift), wraps=wraps)
    covered = np.zeros(length, int)

    for first, last in windows.kept:
        covered[np.arange(first, last) % length] += 1

    assert (covered == 1).all()
    assert {last - first for first, last in windows.spans} == {min(tile, length)}
    assert all(
        start <= first and last <= end
        for (start, end), (first, last) in zip(windows.spans, windows.kept, strict=True)
    )


def test_windows_at_the_border_are_moved_inward_and_do_not_mix_the_ends():
    windows = plan_windows(20, 8, 4, wraps=False)

    assert windows.kept == ((0, 4), (4, 12), (12, 20))
    assert windows.spans == ((0, 8), (4, 12), (12, 20))


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
