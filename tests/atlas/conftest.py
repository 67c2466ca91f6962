"""The bundled model's shapes, untrained, and small sets of latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTokenizer

from workers.models.atlas_training.diffusion import new_denoiser
from workers.models.atlas_training.latents import LatentSet
from workers.models.atlas_training.placing import Phrase, Placement, write_placement
from workers.models.atlas_training.quarters import Code, Former
from workers.models.atlas_training.surface import SUBJECTS
from workers.models.atlas_training.text import new_text_encoder, new_tokenizer

SNOW_NORTH = Placement(
    "snow in the north, dark ocean on the bottom",
    ("snow", "snow", "dark ocean", "dark ocean"),
    (Phrase("snow in the north", (0, 1)), Phrase("dark ocean on the bottom", (2, 3))),
)


@pytest.fixture(scope="session")
def tokenizer() -> CLIPTokenizer:
    return new_tokenizer()


@pytest.fixture(scope="session")
def former(tokenizer: CLIPTokenizer) -> Former:
    torch.manual_seed(0)
    return Former(new_text_encoder(tokenizer).requires_grad_(False).eval(), tokenizer)


@pytest.fixture(scope="session")
def code(former: Former) -> Code:
    rng = np.random.default_rng(0)
    return Code.least_used(former.states([write_placement(rng).caption for _ in range(30)]))


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(1)
    return new_denoiser()


@pytest.fixture(scope="session")
def latents() -> LatentSet:
    drawn = torch.randn(2, 16, 32, 32, generator=torch.Generator().manual_seed(2))
    return LatentSet(drawn.half(), np.full((2, 32, 32, len(SUBJECTS)), 25, np.uint8))
