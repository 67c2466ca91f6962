"""The whole of a render, from its first stage to its last: what it gives, and that it always does.

The hashes are of latents rounded to a millionth: double precision holds twelve digits on any
machine. A hash or fingerprint that changes means that every user's pictures change; raise
``PLAN_VERSION`` then.
"""

import hashlib

import numpy as np
import pytest
import torch

from app.domain.spec import Mode, Wrap
from tests.properties.test_engine import CARD, PICTURE, toy_plan
from tests.support.engine import ToyModel, run_phases, toy_context
from tests.support.families import family_plan, in_double_precision
from workers.loading import load_model

CPU = torch.device("cpu")


def digest(latents):
    assert latents.dtype == np.float64
    return hashlib.sha256(np.round(latents * 1e6).astype(np.int64).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.REFINE, "f082b547381b8daa"),
        (Mode.PHASED, "cc2fc295e087020f"),
        (Mode.MULTIDIFFUSION, "f6742a3e7d6752f5"),
        (Mode.SPOT, "e116b832f80caacb"),
    ],
    ids=str,
)
def test_plan_noise_and_merge_give_the_latents_they_always_gave(mode, expected):
    render = toy_plan(mode, discard=False, wrap=Wrap.X, sampler="dpm++2m")
    picture = PICTURE if render.starts_from_picture else None

    latents = run_phases(toy_context(ToyModel(CARD)), render, picture=picture)

    assert digest(latents) == expected


def fingerprint(latents):
    """Four numbers that each latent counts in, about as large as the latents are."""
    waves = np.cos(np.outer([1.0, 2.0, 3.0, 5.0], np.arange(latents.size)))
    return waves @ latents.ravel() / np.sqrt(latents.size)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("sd", (0.24907, -0.58521, 14.1635, 2.49604)),
        ("sd-v", (0.18784, 0.21512, 0.71041, 0.27776)),
        ("sdxl", (1.27364, -6.13853, 12.12778, 2.03909)),
        ("sd3", (-0.51317, -0.8024, 0.48481, -1.34468)),
    ],
    ids=["sd", "sd-v", "sdxl", "sd3"],
)
def test_nine_tiles_of_a_tiny_model_give_the_latents_they_always_gave(families, family, expected):
    model = load_model(families, family, CPU)
    exact = in_double_precision(model)
    render = family_plan(exact.card, Mode.PHASED, height=32, width=32)

    latents = run_phases(toy_context(exact), render)

    assert len(render.phases[0].grid) == 9
    # The last bits of random weights are the processor's: they move latents by 5e-6.
    np.testing.assert_allclose(fingerprint(latents), expected, rtol=0, atol=1e-4)
