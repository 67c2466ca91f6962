import math

import pytest
import torch

from app.domain.errors import RenderCancelledError, UnsupportedError
from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from app.domain.schedule import NoiseSchedule, Steps, full_steps, partial_steps
from workers.denoise import at_unit_variance, closed_denoiser, denoise
from workers.families.sd import clean_picture

NOISE = torch.from_numpy(noise_field(Box(0, 0, 16, 16), 4, seed=3, stream=Stream.INITIAL, image=0))[
    None
]


def no_check() -> None: ...


def denoised(denoiser, x, walk, sampler, check):
    state, _ = denoise(denoiser, x, walk, sampler, check)
    return at_unit_variance(state, walk.sigmas[-1])


def gaussian_denoiser(x, sigma, timestep):
    """The exact denoiser of data drawn from N(0, 1)."""
    return x / (1 + sigma**2)


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++2m"])
def test_every_sampler_turns_noise_into_the_models_distribution(sampler):
    walk = full_steps(NoiseSchedule(set_alpha_to_one=True), 100, sampler)

    result = denoised(gaussian_denoiser, NOISE * walk.noise_scale, walk, sampler, no_check)

    # The exact flow keeps x / sqrt(1 + sigma^2); the steps' error is what differs.
    torch.testing.assert_close(result, NOISE, atol=0.06, rtol=0.06)


def test_the_second_order_sampler_is_more_exact_than_the_first():
    def error(sampler):
        walk = full_steps(NoiseSchedule(), 20, sampler)
        result = denoised(gaussian_denoiser, NOISE * walk.noise_scale, walk, sampler, no_check)
        return (result - NOISE).abs().max()

    assert error("dpm++2m") < error("euler")


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_each_prediction_type_recovers_a_known_picture(prediction_type):
    sigma, picture = 1.7, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    x = picture + sigma * NOISE[..., :8, :8]
    alpha = 1 / math.sqrt(1 + sigma**2)
    output = {
        "epsilon": NOISE[..., :8, :8],
        "v_prediction": alpha * NOISE[..., :8, :8] - sigma * alpha * picture,
        "sample": picture,
    }[prediction_type]

    torch.testing.assert_close(clean_picture(x, output, sigma, prediction_type), picture)


def test_a_prediction_type_nobody_knows_is_refused():
    x = torch.zeros(1, 4, 8, 8)

    with pytest.raises(UnsupportedError, match=r"^prediction_type must be epsilon, .*got 'flow'$"):
        clean_picture(x, x, 1.0, "flow")


def test_a_picture_without_added_noise_is_left_alone_by_a_perfect_denoiser():
    picture = torch.ones(1, 4, 8, 8)
    walk = partial_steps(NoiseSchedule(), 10, nsr=0.7)

    result = denoised(lambda x, sigma, t: picture, picture, walk, "euler", no_check)

    torch.testing.assert_close(result, picture)


def test_a_cancelled_walk_stops_before_its_next_evaluation():
    evaluations = []

    def denoiser(x, sigma, timestep):
        evaluations.append(timestep)
        return x

    def check():
        if len(evaluations) == 2:
            raise RenderCancelledError("job j was cancelled")

    steps = Steps(timesteps=(3, 2, 1), sigmas=(3.0, 2.0, 1.0, 0.0), noise_scale=3.0)
    with pytest.raises(RenderCancelledError):
        denoise(denoiser, NOISE, steps, "euler", check)

    assert evaluations == [3, 2]


def test_a_canvas_whose_ends_meet_does_not_care_where_it_is_cut():
    def biased(x, sigma, timestep):
        """Wrong near the borders of what it sees, as a padded convolution is."""
        return torch.nn.functional.avg_pool2d(x, 3, 1, 1)

    ring = closed_denoiser(lambda shift: biased, rows=False, columns=True)
    x = NOISE.double()

    cut_elsewhere = ring(x.roll(8, -1), 1.0, 1).roll(-8, -1)

    torch.testing.assert_close(cut_elsewhere, ring(x, 1.0, 1))


def test_where_the_model_sees_no_border_joining_the_ends_changes_nothing():
    ring = closed_denoiser(lambda shift: gaussian_denoiser, rows=True, columns=True)

    torch.testing.assert_close(ring(NOISE, 2.0, 1), gaussian_denoiser(NOISE, 2.0, 1))
