import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.geometry import Box
from app.domain.quality import SeamAxis, SeamGrid, measure, seam_axis
from app.domain.tiling import plan_axis
from tests.support.pictures import one_over_f, pixels, profiles

SIDE = 512
AXIS = seam_axis(SIDE, [(0, 288), (224, 512)])
GRID = SeamGrid(AXIS, AXIS)
TILES = [Box(top, left, top + 288, left + 288) for top in (0, 224) for left in (0, 224)]


def test_a_sound_picture_has_sound_figures():
    found = profiles(pixels(one_over_f(SIDE, SIDE, seed=0)))

    figures = measure(found, GRID, tiles=TILES, start=found.cells).figures

    assert 0.6 < figures["seam_z"] < 1.5
    assert 0.93 < figures["variance_dip"] < 1.07
    assert figures["low_frequency_drift"] == 0
    assert figures["repetition"] == 0


def test_without_the_picture_it_started_from_only_seams_and_dip_are_told():
    found = profiles(pixels(one_over_f(SIDE, SIDE, seed=0)))

    assert list(measure(found, GRID, tiles=TILES).figures) == ["seam_z", "variance_dip"]


def test_one_tile_alone_has_no_seams():
    found = profiles(pixels(one_over_f(SIDE, SIDE, seed=0)))

    quality = measure(found, SeamGrid(SeamAxis(SIDE), SeamAxis(SIDE)))

    assert quality.figures == {}
    assert quality.seams.rows.shape == (0, 4)


def test_figures_are_plain_numbers():
    found = profiles(pixels(one_over_f(SIDE, SIDE, seed=0)))

    figures = measure(found, GRID, tiles=TILES, start=np.roll(found.cells, 1, axis=0)).figures

    assert {type(value) for value in figures.values()} == {float}


@given(
    height=st.integers(64, 300),
    width=st.integers(64, 300),
    tile=st.sampled_from([64, 96, 160]),
    overlap=st.sampled_from([0, 8, 32, 56]),
    wraps=st.booleans(),
)
@settings(max_examples=20)
def test_a_picture_of_any_size_and_grid_can_be_measured(height, width, tile, overlap, wraps):
    rows, columns = (
        seam_axis(side, plan_axis(side, tile, overlap, wraps=wraps).spans, wraps=wraps)
        for side in (height, width)
    )
    random = np.random.default_rng(height * width)
    found = profiles(random.integers(0, 256, (height, width, 3), np.uint8))
    boxes = [
        Box(top, left, min(bottom, height), min(right, width))
        for top, bottom in plan_axis(height, tile, overlap, wraps=wraps).spans
        for left, right in plan_axis(width, tile, overlap, wraps=wraps).spans
    ]

    figures = measure(found, SeamGrid(rows, columns), tiles=boxes, start=found.cells).figures

    assert all(np.isfinite(value) for value in figures.values())
