from dataclasses import replace

import pytest

from app.domain.layout import choose_tile, default_overlap
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
