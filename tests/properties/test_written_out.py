"""Each mode against the same walk written out by hand: no plan, store, tile or merge is asked."""

from functools import partial

import numpy as np
import pytest
import torch

from app.canvas import noise_window
from app.domain.spec import Mode
from tests.properties.test_engine import CARD, PICTURE, rendered, toy_plan, whole
from tests.support.engine import ToyModel
from workers.denoise import at_unit_variance, denoise, guided_denoiser

TOY = ToyModel(CARD)
EXACT = 1e-12
FIRST_ORDER = ["ddim", "euler"]


def denoiser_of(render):
    prompts = TOY.encode_prompts([render.spec.negative_prompt, render.spec.prompt])
    return guided_denoiser(TOY, prompts, render.spec.guidance)


def start_of(render):
    """The canvas before the first step, ``(1, C, H, W)``."""
    steps = render.phases[0].steps
    x = np.float32(steps.noise_scale) * noise_window(render, 0, render.canvas)
    x = x + PICTURE if render.starts_from_picture else x
    return torch.from_numpy(x.astype(np.float64))[None]


def crop(x, box):
    return x[(..., *box.window)]


def mean_of_tiles(phase, x, function):
    """The weighted mean of what *function* gives for each tile of *x*, in ``x``'s shape."""
    total, weights = torch.zeros_like(x), torch.zeros(x.shape[-2:], dtype=x.dtype)
    for index, box in enumerate(phase.tiles):
        weight = torch.from_numpy(phase.grid.weight(index))
        crop(total, box).add_(function(crop(x, box)) * weight)
        crop(weights, box).add_(weight)
    return total / weights


def walked(render, phase, x):
    steps, sampler = phase.steps, render.spec.sampler
    return denoise(denoiser_of(render), x, steps, sampler, lambda: None)[0]


def end_of(render, x):
    return at_unit_variance(x, render.phases[-1].end_sigma)[0].numpy()


def averaging_noise_at_each_step(render):
    """Mixture of diffusers: the tiles' predictions of noise are averaged, then one step taken."""
    x, predict = start_of(render), denoiser_of(render)
    for phase in render.phases:
        steps = phase.steps
        for timestep, sigma, following in zip(
            steps.timesteps, steps.sigmas[:-1], steps.sigmas[1:], strict=True
        ):

            def noise(tile, sigma=sigma, timestep=timestep):
                return (tile - predict(tile, sigma, timestep)) / sigma

            x = x + (following - sigma) * mean_of_tiles(phase, x, noise)
    return end_of(render, x)


def averaging_state_after_each_phase(render):
    """MultiDiffusion, where a phase is a step."""
    x = start_of(render)
    for phase in render.phases:
        x = mean_of_tiles(phase, x, partial(walked, render, phase))
    return end_of(render, x)


@pytest.mark.parametrize("sampler", FIRST_ORDER)
def test_averaging_states_or_predicted_noise_is_the_same_for_single_steps(sampler):
    render = toy_plan(Mode.MULTIDIFFUSION, discard=False, sampler=sampler)

    latents = rendered(render, TOY)

    for expected in (averaging_state_after_each_phase, averaging_noise_at_each_step):
        np.testing.assert_allclose(latents, expected(render), rtol=0, atol=EXACT)


@pytest.mark.parametrize("sampler", FIRST_ORDER)
def test_it_is_not_where_tiles_take_several_steps_alone(sampler):
    render = toy_plan(Mode.REFINE, discard=False, sampler=sampler, nsr=0.3)
    assert len(render.phases[0].steps) > 1

    difference = averaging_state_after_each_phase(render) - averaging_noise_at_each_step(render)

    assert np.abs(difference).max() > 1e-4


@pytest.mark.parametrize("sampler", [*FIRST_ORDER, "dpm++2m"])
def test_one_phase_of_all_steps_is_the_mean_of_independent_renders(sampler):
    render = toy_plan(Mode.REFINE, discard=False, sampler=sampler, nsr=0.3)
    assert len(render.phases) == 1

    latents = rendered(render, TOY)

    alone = averaging_state_after_each_phase(render)
    np.testing.assert_allclose(latents, alone, rtol=0, atol=EXACT)
    assert np.abs(latents - rendered(whole(render), TOY)).max() > 1e-4


@pytest.mark.parametrize("sampler", [*FIRST_ORDER, "dpm++2m"])
def test_a_direct_render_is_the_walk_of_the_whole_canvas(sampler):
    render = toy_plan(Mode.DIRECT, discard=False, sampler=sampler, height=192, width=256)

    latents = rendered(render, TOY)

    expected = end_of(render, walked(render, render.phases[0], start_of(render)))
    np.testing.assert_allclose(latents, expected, rtol=0, atol=EXACT)
    assert len(render.phases) == len(render.phases[0].tiles) == 1
