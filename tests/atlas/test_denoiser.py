"""The training loop of the denoiser: what it may touch, and in which precision."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTokenizer

from workers.models.atlas_training.binding import deepened
from workers.models.atlas_training.diffusion import train_denoiser
from workers.models.atlas_training.latents import LatentSet
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.text import new_text_encoder


def counted(steps: int) -> Callable[[], float]:
    """A budget of *steps* steps, of which the first has no rate yet."""
    calls = iter(range(steps + 1))
    return lambda: next(calls) / steps


@pytest.mark.parametrize("half", [False, True], ids=["single", "half"])
def test_a_text_encoder_that_is_kept_is_only_read(
    unet: UNet2DConditionModel, tokenizer: CLIPTokenizer, latents: LatentSet, half: bool
) -> None:
    text = deepened(new_text_encoder(tokenizer)).requires_grad_(False)
    kept, before = copy.deepcopy(text.state_dict()), copy.deepcopy(unet.state_dict())
    optimiser = Optimiser(unet, text, matrix_lr=0.01, other_lr=1e-3)

    losses = list(
        train_denoiser(
            *(unet, text, tokenizer, latents, optimiser),
            progress=counted(3),
            seed=0,
            batch=2,
            half=half,
        )
    )

    assert len(losses) == 3
    assert all(0 < step["loss"] < 100 for step in losses)
    assert all(torch.equal(value, kept[name]) for name, value in text.state_dict().items())
    assert not torch.equal(unet.conv_in.weight, before["conv_in.weight"])


def test_half_precision_computes_the_same_loss_to_a_percent(
    unet: UNet2DConditionModel, tokenizer: CLIPTokenizer, latents: LatentSet
) -> None:
    text, told = new_text_encoder(tokenizer), []
    for half in (False, True):
        optimiser = Optimiser(unet, text, matrix_lr=0.0, other_lr=0.0)
        step = train_denoiser(
            *(unet, text, tokenizer, latents, optimiser),
            progress=counted(1),
            seed=0,
            batch=2,
            half=half,
        )
        told.append(next(step)["loss"])

    assert told[0] != told[1]
    assert told[1] == pytest.approx(told[0], rel=0.01)
