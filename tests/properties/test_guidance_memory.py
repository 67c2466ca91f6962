"""What becomes of guidance when both prompts do not fit into memory at once."""

import pytest
import torch

from app.domain.geometry import Box
from app.domain.noise import Stream, noise_field
from workers.denoise import guided_denoiser

SIGMA, TIMESTEP, GUIDANCE = 3.0, 500, 5.0


class Cramped:
    """A model that evaluates so many rows at once and no more."""

    def __init__(self, model, rows):
        self._model = model
        self._rows = rows
        self.evaluated = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def predict(self, x, sigma, timestep, conditioning, control=None):
        rows = len(conditioning.text) * len(x)
        if rows > self._rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.evaluated.append(rows)
        return self._model.predict(x, sigma, timestep, conditioning, control)


@pytest.fixture
def latents(family_model):
    channels = family_model.card.latent_channels
    field = noise_field(Box(0, 0, 16, 16), channels, seed=1, stream=Stream.INITIAL, image=0)
    return SIGMA * torch.from_numpy(field)[None]


@pytest.fixture
def prompts(family_model):
    return family_model.encode_prompts(["blurry", "a map of islands"])


def test_prompts_that_do_not_fit_together_are_evaluated_one_after_the_other(
    family_model, prompts, latents
):
    cramped = Cramped(family_model, rows=1)
    together = guided_denoiser(family_model, prompts, GUIDANCE)(latents, SIGMA, TIMESTEP)

    apart = guided_denoiser(cramped, prompts, GUIDANCE)(latents, SIGMA, TIMESTEP)

    assert cramped.evaluated == [1, 1]
    # Other kernels add in another order: 1.3e-6 of the largest value at most, measured.
    torch.testing.assert_close(apart, together, rtol=0, atol=5e-6 * float(together.abs().max()))


def test_once_apart_prompts_stay_apart(family_model, prompts, latents):
    cramped = Cramped(family_model, rows=1)
    denoiser = guided_denoiser(cramped, prompts, GUIDANCE)

    first = denoiser(latents, SIGMA, TIMESTEP)
    second = denoiser(latents, SIGMA, TIMESTEP)

    assert cramped.evaluated == [1, 1, 1, 1]
    assert torch.equal(first, second)


def test_what_does_not_fit_one_by_one_is_left_to_who_can_shrink_the_batch(
    family_model, prompts, latents
):
    with pytest.raises(torch.OutOfMemoryError):
        guided_denoiser(Cramped(family_model, rows=0), prompts, GUIDANCE)(latents, SIGMA, TIMESTEP)


def test_without_guidance_there_is_nothing_to_evaluate_apart(family_model, prompts, latents):
    cramped = Cramped(family_model, rows=0)

    with pytest.raises(torch.OutOfMemoryError):
        guided_denoiser(cramped, prompts, 1.0)(latents, SIGMA, TIMESTEP)

    assert cramped.evaluated == []
