from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.layout import base_sides, choose_tile, default_overlap
from tests.unit.domain.cards import SD15

FLAT = {"wraps_rows": False, "wraps_columns": False}
CARD = replace(SD15, tile_costs=((512, 1.0), (640, 1.3), (768, 2.7)))


def test_a_model_without_a_cost_table_takes_its_native_size():
    assert choose_tile(SD15, 4096, 4096, **FLAT) == 512


@pytest.mark.parametrize(
    ("side", "tile"),
    # 1024 px: 3x3 tiles of 512 are two rounds of eight workers, 2x2 of 640 are one.
    [(512, 512), (768, 512), (1024, 640), (4096, 640)],
    ids=["one tile", "one round", "a round less", "many"],
)
def test_the_tile_that_is_rendered_soonest_is_chosen(side, tile):
    assert choose_tile(CARD, side, side, **FLAT) == tile


def test_the_choice_does_not_depend_on_anything_but_card_and_canvas():
    assert len({choose_tile(CARD, 3000, 2000, **FLAT) for _ in range(3)}) == 1


def test_a_canvas_that_wraps_needs_tiles_across_its_end():
    wide = {"wraps_rows": False, "wraps_columns": True}

    assert choose_tile(CARD, 512, 4096, **wide) in (512, 640, 768)


@pytest.mark.parametrize(("tile", "overlap"), [(512, 128), (520, 128), (200, 48)], ids=str)
def test_the_overlap_is_a_quarter_on_the_grid_of_latents(tile, overlap):
    assert default_overlap(SD15, tile) == overlap


def test_small_tiles_overlap_by_five_latents_but_no_more_than_half():
    assert [default_overlap(SD15, tile) for tile in (160, 128, 64)] == [40, 40, 32]


def test_the_overlap_lies_on_the_grid_of_patches():
    assert default_overlap(replace(SD15, alignment=2), 544) == 128


@pytest.mark.parametrize(
    ("height", "width", "sides"),
    [
        (1024, 1024, (16, 16)),
        (384, 768, (12, 24)),
        (768, 384, (24, 12)),
        (3000, 4000, (12, 16)),
        (1080, 1920, (12, 20)),
        (1000, 8000, (8, 48)),
        (400, 8000, (8, 72)),
    ],
)
def test_a_base_has_the_pictures_aspect_and_the_models_area(height, width, sides):
    small = replace(SD15, native_size=128, halving=4)

    assert base_sides(small, height, width) == sides


@given(st.integers(256, 20000), st.floats(0.25, 4.0))
def test_a_base_is_never_stretched_much(height, aspect):
    width = round(height / aspect)
    rows, columns = base_sides(SD15, height, width)

    assert rows % SD15.halving == columns % SD15.halving == 0
    assert rows / columns == pytest.approx(height / width, rel=0.12)
    assert 0.75 < rows * columns / 64**2 < 1.34
    assert base_sides(SD15, width, height) == (columns, rows)
