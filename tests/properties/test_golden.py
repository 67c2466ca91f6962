"""What a render gives, and that it always does.

The toy's hashes cover plan, noise, tiles and merges; the tiny models' fingerprints cover what the
families' networks make of them. One render of nine tiles goes all the way: base, preparation,
tiles, merges, head, cores and picture.

The hashes of latents are of millionths: double precision holds twelve digits on any machine. A
hash or fingerprint that changes means that every user's pictures change; raise ``PLAN_VERSION``
then.
"""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from app.domain.spec import Mode, Wrap
from app.domain.work import Stage, Work
from tests.properties.test_engine import CARD, PICTURE, toy_plan
from tests.support.engine import (
    ToyModel,
    finished_latents,
    render_picture,
    run_phases,
    toy_context,
)
from tests.support.families import family_plan, whole_plan, with_portable_weights
from workers.loading import load_model

CPU = torch.device("cpu")


def digest(latents):
    assert latents.dtype == np.float64
    return digest_of(np.round(latents * 1e6).astype(np.int64))


def digest_of(integers):
    return hashlib.sha256(integers.tobytes()).hexdigest()[:16]


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
        ("sd", (0.289938, -6.729477, 13.54528, 6.247426)),
        ("sd-v", (0.146985, -0.276934, 0.538577, 0.49371)),
        ("sdxl", (-12.289301, -12.944278, 10.210173, 1.795551)),
        ("sd3", (-2.184765, -1.79652, 1.22418, -1.547288)),
    ],
    ids=["sd", "sd-v", "sdxl", "sd3"],
)
def test_nine_tiles_of_a_tiny_model_give_the_latents_they_always_gave(families, family, expected):
    model = with_portable_weights(load_model(families, family, CPU))
    render = family_plan(model.card, Mode.PHASED, height=32, width=32)

    latents = run_phases(toy_context(model), render)

    assert len(render.phases[0].grid) == 9
    # A transformer's sines of the time are in single precision: processors move these by 2e-6.
    np.testing.assert_allclose(fingerprint(latents), expected, rtol=0, atol=1e-5)


LATENTS = (-0.0868899, -0.492196, 0.619199, 0.3107781)
LEVELS = (
    (120.8, 120.2, 123.2, 124.2),
    (119.5, 123.3, 137.9, 132.8),
    (120.7, 127.1, 122.8, 121.3),
    (123.6, 115.3, 124.7, 123.6),
)


@pytest.fixture(scope="module")
def finished(families):
    """A plan of nine tiles and four cores, its finished latents and its picture."""
    model = with_portable_weights(load_model(families, "sd", CPU))
    render = whole_plan(model.card, Mode.REFINE, height=32, width=32, upscale=1)
    context = toy_context(model)
    render_picture(context, render)
    with Image.open(io.BytesIO(context.store.get(Work(Stage.PICTURE, 0).key(render)))) as picture:
        return render, finished_latents(context.store, render), np.asarray(picture)


def test_a_whole_render_looks_as_it_always_did(finished):
    """Of a difference this tells how large it is; the next test that there is one."""
    render, latents, picture = finished

    assert render.base is not None
    assert render.decode.head
    assert [len(phase.grid) for phase in render.phases] == [9, 9]
    assert len(render.decode.cores) == 4
    assert picture.shape == (128, 128, 3)
    np.testing.assert_allclose(fingerprint(latents), LATENTS, rtol=0, atol=1e-6)
    levels = picture.reshape(4, 32, 4, 32, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(levels, LEVELS, rtol=0, atol=1)


def test_a_whole_render_gives_the_latents_and_the_pixels_it_always_gave(finished):
    _, latents, picture = finished

    # The same with instructions up to SSE 4.2, up to AVX2 and up to AVX-512.
    assert (digest(latents), digest_of(picture)) == ("c446032c67ebb464", "a8eb47047f24b783")
