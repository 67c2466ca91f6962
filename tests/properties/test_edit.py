"""What makes an edit right: what is held stays to the last bit, and no seam is left in between."""

from dataclasses import replace

import numpy as np
import pytest

from app.canvas import band_boxes
from app.domain.editing import Area, tile_box
from app.domain.geometry import Box
from app.domain.grid import Axis, Grid
from app.domain.spec import Mode, Wrap
from app.domain.work import Stage, ground_key, pixels_key, work_of
from app.editing import write_area
from tests.properties.test_engine import CARD, MODES, PICTURE, toy_plan
from tests.support.edits import finished, masked, painted, reduced, rendered_again
from tests.support.engine import ToyModel, run_phases, toy_context

KNOWN, TOY = PICTURE.astype(np.float32), ToyModel(CARD)


def edited(mode, mask, **changes):
    """The toy plan with *mask* ``(H, W)`` stretched over its 384 x 320 px, and the mask's area."""
    return masked(toy_plan(mode, **changes), mask)


def in_one_window(render, area):
    spans = [Axis(length, ((0, length),)) for length in (40, 48)]
    phases = tuple(replace(phase, grid=Grid(*spans), only=None) for phase in render.phases)
    return reduced(replace(render, phases=phases), area)


def spot(top, left, bottom, right):
    """White inside a rectangle of latents."""
    mask = np.zeros((40, 48), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


MASKS = {
    "inside one cell": spot(2, 2, 8, 8),
    "across cells": spot(10, 12, 30, 40),
    "two spots": spot(0, 0, 4, 4) | spot(36, 44, 40, 48),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_held_latents_are_the_pictures_own_to_the_last_bit(mode, mask):
    render, area = edited(mode, mask, discard=False)

    result = painted(render, area, TOY, picture=KNOWN)

    np.testing.assert_array_equal(result[:, mask == 0], KNOWN[:, mask == 0])
    assert np.abs(result - KNOWN)[:, mask > 0].min() > 0


@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"], ids=str)
@pytest.mark.parametrize("wrap", [Wrap.NONE, Wrap.XY], ids=str)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("mode", [Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION], ids=str)
def test_an_edit_in_tiles_equals_the_edit_of_the_whole_canvas(mode, mask, wrap, sampler):
    render, area = edited(mode, mask, wrap=wrap, sampler=sampler)
    periodic = "circular" if wrap is Wrap.XY else ""
    whole = in_one_window(render, area)
    whole = replace(whole, spec=replace(whole.spec, wrap=Wrap.NONE))

    tiled = painted(render, area, TOY, picture=KNOWN)

    expected = painted(whole, area, ToyModel(CARD, mode=periodic), picture=KNOWN)
    np.testing.assert_allclose(tiled, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_edit_of_everything_is_the_render_itself(mode):
    render, area = edited(mode, spot(0, 0, 40, 48))
    plain = replace(
        render,
        phases=tuple(replace(phase, only=None) for phase in render.phases),
        decode=replace(render.decode, painted=None),
    )

    everything = painted(render, area, TOY, picture=KNOWN)

    context = toy_context(TOY)
    np.testing.assert_array_equal(everything, run_phases(context, plain, picture=KNOWN))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_only_tiles_whose_cells_are_touched_are_executed(mode):
    render, area = edited(mode, MASKS["inside one cell"])
    executed = []

    def counted(works):
        executed.extend(works)
        return works

    painted(render, area, TOY, picture=KNOWN, order=counted)

    tiles = [work for work in executed if work.stage is Stage.TILE]
    planned = [work for group in work_of(render) for work in group if work.stage is Stage.TILE]
    assert sorted(tiles) == sorted(planned)
    assert {work.index for work in tiles if work.phase + 1 == len(render.phases)} == {0}
    assert len(tiles) < sum(len(phase.grid) for phase in render.phases) / 3


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_edit_meets_its_surroundings_better_than_a_pasted_render(mode):
    mask = spot(10, 12, 30, 40)
    smooth = np.broadcast_to(np.linspace(-0.5, 0.5, 48, dtype=np.float32), (4, 40, 48)).copy()
    render, area = edited(mode, mask, discard=False)
    everywhere = Area(area.spec, np.full((1, 1), 255, np.uint8), area.box)

    held = painted(render, area, TOY, picture=smooth)

    plain = painted(reduced(render, everywhere), everywhere, TOY, picture=smooth)
    pasted = np.where(mask > 0, plain, smooth)
    assert border_step(held) < 0.9 * border_step(pasted)


def border_step(latents):
    """Mean step from the outside to the inside of the spot that the test above paints."""
    rows, columns = slice(10, 30), slice(12, 40)
    steps = [
        latents[:, rows, 12] - latents[:, rows, 11],
        latents[:, rows, 39] - latents[:, rows, 40],
        latents[:, 10, columns] - latents[:, 9, columns],
        latents[:, 29, columns] - latents[:, 30, columns],
    ]
    return np.abs(np.concatenate(steps, axis=1)).mean()


def test_the_order_of_tiles_does_not_change_a_bit():
    render, area = edited(Mode.PHASED, MASKS["across cells"])
    once = painted(render, area, TOY, picture=KNOWN)

    again = painted(render, area, TOY, picture=KNOWN, order=lambda works: [*works, *works[::-1]])

    np.testing.assert_array_equal(again, once)


def test_a_canvas_of_several_bands_is_merged_alike():
    mask = np.zeros((160, 24), np.uint8)
    mask[120:150, 4:20] = 255
    render = toy_plan(Mode.PHASED, height=1280, width=192, discard=False)
    render, area = masked(render, mask)
    known = np.random.default_rng(2).standard_normal((4, 160, 24)).astype(np.float32)

    result = painted_in_bands(render, area, known)

    assert len(band_boxes(render)) == 2
    np.testing.assert_array_equal(result[:, mask == 0], known[:, mask == 0])
    assert np.abs(result - known)[:, mask > 0].min() > 0


def painted_in_bands(render, area, known):
    from app.canvas import write_band

    context = toy_context(TOY)
    write_area(context.store, render, 0, area, lambda: None)
    for number, band in enumerate(band_boxes(render)):
        write_band(context.store, render, 0, 0, number, known[:, band.top : band.bottom])
    return run_phases(context, render)


def toy_parent(mode):
    """A finished toy render, and the store it lies in."""
    render = toy_plan(mode, discard=False)
    return render, *finished(render, TOY, KNOWN if render.starts_from_picture else None)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_tile_rendered_again_leaves_its_neighbours_as_they_are(mode):
    parent, before, store = toy_parent(mode)
    cell = parent.phases[-1].grid.cells[0]

    _, after, executed = rendered_again(parent, store, TOY, tile_box(parent, 0, 0), seed=99)

    changed = np.zeros(before.shape[1:], bool)
    changed[cell.window] = True
    np.testing.assert_array_equal(after[:, ~changed], before[:, ~changed])
    assert np.abs(after - before)[:, changed].min() > 0
    assert [work.index for work in executed if work.phase + 1 == len(parent.phases)] == [0]


def test_cores_that_are_not_painted_are_those_of_the_parent():
    parent, _, store = toy_parent(Mode.PHASED)

    render, _, _ = rendered_again(parent, store, TOY, Box(0, 0, 20, 20), seed=99)

    for core in range(len(render.decode.cores)):
        assert store.get(ground_key(render, 0, core)) == store.get(pixels_key(parent, 0, core))


def test_another_seed_paints_another_part_and_the_same_the_same():
    parent, _, store = toy_parent(Mode.PHASED)
    box = Box(100, 100, 200, 200)

    one, same, other = (rendered_again(parent, store, TOY, box, seed)[1] for seed in (5, 5, 6))

    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
