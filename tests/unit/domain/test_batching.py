from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.batching import batches
from app.domain.geometry import Box
from app.domain.grid import Axis, Grid
from app.domain.spec import Mode, Region, Wrap
from app.domain.work import Stage, Work, work_of
from tests.unit.domain.cards import plan

RENDER = plan(height=1024, width=1536, count=2, mode=Mode.PHASED)
UNITS = [work for group in work_of(RENDER) for work in group]


def tiles(render, phase=0, image=0):
    return [
        Work(Stage.TILE, image, phase, index) for index in range(len(render.phases[phase].grid))
    ]


@given(st.lists(st.sampled_from(UNITS), unique=True), st.integers(1, 5))
def test_every_unit_is_in_one_batch_of_its_own_kind(units, size):
    grouped = list(batches(RENDER, units, size))

    assert sorted(work for batch in grouped for work in batch) == sorted(units)
    assert all(1 <= len(batch) <= size for batch in grouped)
    assert all(len({(w.stage, w.image, w.phase) for w in batch}) == 1 for batch in grouped)
    assert all(len(batch) == 1 or batch[0].stage is Stage.TILE for batch in grouped)


def test_batches_are_full_but_for_the_last_of_a_kind():
    sizes = [len(batch) for batch in batches(RENDER, tiles(RENDER), 4)]

    assert sizes == [4, 4, 4]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_units_keep_their_order_inside_a_batch(size):
    grouped = list(batches(RENDER, tiles(RENDER), size))

    assert [work.index for batch in grouped for work in batch] == list(range(12))


def test_tiles_of_different_shapes_are_not_mixed():
    uneven = Grid(Axis(128, ((0, 64), (64, 128))), Axis(192, ((0, 64), (64, 192))))
    phase = replace(RENDER.phases[0], grid=uneven)
    render = replace(RENDER, phases=(phase, *RENDER.phases[1:]))

    grouped = [[work.index for work in batch] for batch in batches(render, tiles(render), 4)]

    assert grouped == [[0, 2], [1, 3]]


def test_tiles_share_a_batch_with_those_that_evaluate_the_same_prompts():
    left = Region("a lake", "", Box(0, 0, 1024, 400), 1.0, 0, None)
    render = replace(RENDER, spec=replace(RENDER.spec, regions=(left,)))

    grouped = [[work.index % 4 for work in batch] for batch in batches(render, tiles(render), 12)]

    assert grouped == [[0, 1, 0, 1, 0, 1], [2, 3, 2, 3, 2, 3]]


def test_a_region_reaches_as_far_as_it_fades():
    left = Region("a lake", "", Box(0, 0, 1024, 200), 1.0, 400, None)
    render = replace(RENDER, spec=replace(RENDER.spec, regions=(left,)))

    assert [len(batch) for batch in batches(render, tiles(render), 12)] == [6, 6]


def test_a_tile_that_wraps_meets_regions_on_both_sides():
    left = Region("a lake", "", Box(0, 0, 1024, 200), 1.0, 0, None)
    render = plan(height=512, width=1536, mode=Mode.PHASED, wrap=Wrap.X, regions=(left,))

    grouped = [[work.index for work in batch] for batch in batches(render, tiles(render), 12)]

    assert grouped == [[0, 3], [1, 2]]
    assert render.phases[0].tiles[3].right > render.canvas_width
