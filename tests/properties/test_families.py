"""What holds for tiles holds for every family: a UNet, one with two encoders, a transformer."""

import numpy as np
import pytest
import torch

from app.canvas import noise_window
from app.domain.spec import Mode, Wrap
from tests.support.blobs import ComparingStore
from tests.support.engine import (
    hostile,
    render_picture,
    run_phases,
    toy_context,
    without_base,
)
from tests.support.families import family_plan

MODES = [Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION, Mode.SPOT]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_neither_order_nor_repetition_changes_a_bit(family_model, mode):
    render = family_plan(family_model.card, mode)
    picture = None
    if mode is Mode.REFINE:
        shape = (family_model.card.latent_channels, 32, 48)
        render, picture = without_base(render), np.random.default_rng(2).normal(size=shape)
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


def test_a_panorama_may_be_cut_anywhere(family_model, monkeypatch):
    """Its noise rolled by one stride, the latents roll with it: no column is the first."""
    render = family_plan(family_model.card, Mode.MULTIDIFFUSION, wrap=Wrap.X)
    straight = run_phases(toy_context(family_model), render)
    stride = render.phases[0].grid.columns.spans[1][0]

    def rolled(plan, image, box):
        whole = np.roll(noise_window(plan, image, plan.canvas), stride, axis=2)
        columns = np.arange(box.left, box.right) % plan.canvas_width
        return np.ascontiguousarray(whole[:, box.top : box.bottom][:, :, columns])

    monkeypatch.setattr("workers.stages.tile.noise_window", rolled)
    turned = run_phases(toy_context(family_model), render)

    np.testing.assert_allclose(turned, np.roll(straight, stride, axis=2), rtol=0, atol=1e-4)


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
