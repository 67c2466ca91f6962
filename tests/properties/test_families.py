"""What holds for tiles holds for every family: a UNet, one with two encoders, a transformer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.canvas import noise_window
from app.domain.editing import tile_box
from app.domain.spec import Mode, Region, Wrap
from tests.support.blobs import ComparingStore
from tests.support.edits import finished, masked, painted, rendered_again
from tests.support.engine import (
    hostile,
    render_picture,
    run_phases,
    toy_context,
    without_base,
)
from tests.support.families import family_plan

MODES = [Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION, Mode.SPOT]
EVERY_MODE = [Mode.DIRECT, *MODES]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_neither_order_nor_repetition_changes_a_bit(family_model, mode):
    render, picture = from_latents(family_plan(family_model.card, mode))
    once = run_phases(toy_context(family_model), render, picture=picture)

    context = toy_context(family_model, ComparingStore())
    again = run_phases(context, render, picture=picture, order=hostile)

    np.testing.assert_array_equal(again, once)
    assert np.isfinite(once).all()


def test_a_canvas_of_one_tile_is_the_direct_render(family_model):
    card = family_model.card
    direct = family_plan(card, Mode.DIRECT, height=16, width=16)

    tiled = family_plan(card, Mode.MULTIDIFFUSION, height=16, width=16)

    np.testing.assert_allclose(
        run_phases(toy_context(family_model), tiled),
        run_phases(toy_context(family_model), direct),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("mode", "wrap"),
    [(Mode.MULTIDIFFUSION, Wrap.X), (Mode.PHASED, Wrap.XY), (Mode.REFINE, Wrap.XY)],
    ids=["multidiffusion x", "phased xy", "refine xy"],
)
def test_a_wrapped_picture_may_be_cut_anywhere(family_model, mode, wrap, monkeypatch):
    """Its noise rolled by a stride, the latents roll with it: no row or column is the first."""
    render, picture = from_latents(small_plan(family_model.card, mode, wrap=wrap))
    straight = run_phases(toy_context(family_model), render, picture=picture)
    shift = (8 if wrap.rows else 0, 8)

    def rolled(plan, image, box):
        whole = np.roll(noise_window(plan, image, plan.canvas), shift, axis=(1, 2))
        rows, columns = (
            np.arange(box.top, box.bottom) % plan.canvas_height,
            np.arange(box.left, box.right) % plan.canvas_width,
        )
        return np.ascontiguousarray(whole[:, rows][:, :, columns])

    monkeypatch.setattr("workers.stages.tile.noise_window", rolled)
    start = None if picture is None else np.roll(picture, shift, axis=(1, 2))
    turned = run_phases(toy_context(family_model), render, picture=start)

    np.testing.assert_allclose(turned, np.roll(straight, shift, (1, 2)), rtol=0, atol=1e-4)
    assert {axis.spans[1][0] for axis in axes(render) if axis.wraps} == {8}


def axes(render):
    return render.phases[0].grid.rows, render.phases[0].grid.columns


def small_plan(card, mode, **changes):
    return family_plan(card, mode, **{"height": 24, "width": 24} | changes)


def from_latents(render):
    """*render*, and the latents it starts from where it starts from a picture."""
    if not render.starts_from_picture:
        return render, None
    shape = (render.latent_channels, render.canvas_height, render.canvas_width)
    picture = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    return without_base(render), picture


@pytest.mark.parametrize("mode", EVERY_MODE, ids=str)
def test_a_region_over_everything_is_a_render_with_its_prompt(family_model, mode):
    plain, picture = from_latents(small_plan(family_model.card, mode))
    region = Region("an island", "mist", plain.picture, 1.0, 0, None)
    own = replace(plain, spec=replace(plain.spec, regions=(region,)))
    other = replace(plain, spec=replace(plain.spec, prompt="an island", negative_prompt="mist"))

    painted, prompted, before = (
        run_phases(toy_context(family_model), render, picture=picture)
        for render in (own, other, plain)
    )

    np.testing.assert_array_equal(painted, prompted)
    assert np.abs(painted - before).max() > 1e-4


@pytest.mark.parametrize("mode", EVERY_MODE, ids=str)
def test_a_region_changes_the_tiles_that_it_reaches(family_model, mode):
    plain, picture = from_latents(small_plan(family_model.card, mode, height=16, width=48))
    left = replace(plain.picture, right=plain.picture.right // 6)
    region = Region("an island", "mist", left, 1.0, 0, None)
    own = replace(plain, spec=replace(plain.spec, regions=(region,)))

    one, other = (
        run_phases(toy_context(family_model), render, picture=picture) for render in (plain, own)
    )

    changed = np.abs(one - other).max(axis=(0, 1))
    reach = 8 + 8 * len(plain.phases)  # a tile beyond its own in every phase
    reach = plain.canvas_width if mode is Mode.DIRECT else reach  # its one tile is everything
    assert changed[:8].min() > 1e-2
    # All that is told farther is how alike the noises are: one number of the whole canvas.
    tolerance = 0 if mode is Mode.MULTIDIFFUSION else 1e-4
    np.testing.assert_allclose(changed[reach:], 0, rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_an_edit_holds_stays_to_the_last_bit(family_model, mode):
    mask = np.zeros((24, 24), np.uint8)
    mask[4:12, 6:20] = 255
    render, area = masked(small_plan(family_model.card, mode), mask)
    render = replace(render, base=None)
    shape = (render.latent_channels, 24, 24)
    picture = np.random.default_rng(2).normal(size=shape).astype(np.float32)

    result = painted(render, area, family_model, picture=picture)

    np.testing.assert_array_equal(result[:, mask == 0], picture[:, mask == 0])
    assert np.abs(result - picture)[:, mask > 0].max(axis=0).min() > 0


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_tile_rendered_again_leaves_its_neighbours_as_they_are(family_model, mode):
    parent, picture = from_latents(small_plan(family_model.card, mode))
    before, store = finished(parent, family_model, picture)
    changed = np.zeros((24, 24), bool)
    changed[parent.phases[-1].grid.cells[0].window] = True

    _, after, executed = rendered_again(parent, store, family_model, tile_box(parent, 0, 0), 99)

    np.testing.assert_array_equal(after[:, ~changed], before[:, ~changed])
    assert np.abs(after - before)[:, changed].max(axis=0).min() > 0
    assert [work.index for work in executed if work.phase + 1 == len(parent.phases)] == [0]


def test_every_tile_lies_on_the_grid_of_the_family(family_model):
    card = family_model.card
    render = family_plan(card, Mode.SPOT, height=34, width=50)

    edges = {
        edge % card.alignment
        for phase in render.phases
        for box in phase.tiles
        for edge in (box.top, box.left, box.height, box.width)
    }

    assert edges == {0}


@pytest.mark.parametrize("mode", [Mode.REFINE, Mode.PHASED], ids=str)
def test_no_family_draws_random_numbers_of_its_own(family_model, mode, monkeypatch):
    """From the base, or the noise, to the picture: encoding, tiles, head and cores."""

    def refuse(*args, **kwargs):
        raise AssertionError("noise comes from the canvas's field")

    for owner, names in (
        (torch, ("randn", "randn_like", "rand", "rand_like", "normal", "randint", "bernoulli")),
        (torch.Tensor, ("normal_", "uniform_", "bernoulli_")),
        (np.random, ("default_rng", "RandomState", "randn", "rand", "normal", "random", "uniform")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, refuse)

    render_picture(toy_context(family_model), family_plan(family_model.card, mode))
