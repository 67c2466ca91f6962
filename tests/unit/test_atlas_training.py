"""The training chain on a made-up planet, from crops to a folder that loads."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import nn

from workers.models.atlas_training.autoencoder import new_autoencoder, train_autoencoder
from workers.models.atlas_training.diffusion import Averages, new_denoiser, train_denoiser
from workers.models.atlas_training.earth import (
    HEIGHT,
    WIDTH,
    DataUnavailableError,
    Earth,
    Place,
    build_earth,
    cut,
    fetch_earth,
    random_place,
)
from workers.models.atlas_training.export import export_folder
from workers.models.atlas_training.latents import LatentSet, encode_crops, standardise
from workers.models.atlas_training.optimiser import Optimiser, orthogonalised
from workers.models.atlas_training.text import caption_words, new_text_encoder, new_tokenizer
from workers.models.atlas_training.training import Stage, run_stage


@pytest.fixture(scope="module")
def earth() -> Earth:
    """Land with hills in stripes between seas."""
    columns = np.linspace(0, 60, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, 0)
    land = (np.sin(columns) > 0)[..., None]
    colours = np.where(land, (120, 100, 60), (5, 15, 60)).astype(np.uint8)
    height = Image.fromarray((40 * np.sin(columns * 9)).astype(np.float32))
    water = Image.fromarray(np.where(land[..., 0], 0, 255).astype(np.uint8))
    return build_earth(Image.fromarray(colours), height, water)


def counted(steps: int) -> Callable[[], float]:
    """A budget of *steps* steps."""
    calls = iter(range(steps + 1))
    return lambda: next(calls) / steps


def test_chain_from_crops_to_a_folder_that_paints(earth: Earth, tmp_path: Path) -> None:
    autoencoder, tokenizer = new_autoencoder(), new_tokenizer()
    first = Optimiser(autoencoder, matrix_lr=0.01, other_lr=1e-3)
    losses = list(train_autoencoder(autoencoder, earth, first, progress=counted(3), seed=0))
    encoded = encode_crops(autoencoder, earth, count=2, seed=0, tick=lambda: None)
    latents = LatentSet(standardise(autoencoder, encoded.latents), encoded.shares)
    unet, text = new_denoiser(), new_text_encoder(tokenizer)
    second = Optimiser(unet, text, matrix_lr=0.01, other_lr=1e-3)
    steps = train_denoiser(
        unet, text, tokenizer, latents, second, progress=counted(2), seed=0, batch=4
    )
    losses += list(steps)
    export_folder(tmp_path, autoencoder=autoencoder, unet=unet, text=text, tokenizer=tokenizer)

    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    picture = pipeline("sea", num_inference_steps=2, output_type="np").images

    assert all(np.isfinite(value) for step in losses for value in step.values())
    assert picture.shape == (1, 128, 128, 3)
    assert json.loads((tmp_path / "tilechord.json").read_text())["latent_scale"] == 8


def test_standardised_latents_decode_to_the_same_picture() -> None:
    model = new_autoencoder()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before = model.decode(raw := model.encode(pixels).latent_dist.mean).sample
        scaled = standardise(model, raw)
        after = model.decode(model.encode(pixels).latent_dist.mean).sample

    assert scaled.float().std() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-3)


def test_stage_resumes_where_it_was_saved(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    stage = Stage("toy", tmp_path, 60.0, {"layer": layer})
    run_stage(stage, iter([{"loss": 1.0}] * 3))

    other = nn.Linear(2, 2)
    resumed = Stage("toy", tmp_path, 60.0, {"layer": other})

    assert resumed.resume()
    assert resumed.steps == 3
    assert torch.equal(other.weight, layer.weight)


def test_a_pause_of_the_process_does_not_eat_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 2.0, 3602.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stage = Stage("toy", tmp_path, 64.0, {})

    assert stage.progress() == 2 / 64
    assert stage.progress() == 32 / 64


def test_averages_follow_the_live_weights() -> None:
    layer = nn.Linear(1, 1, bias=False)
    averages = Averages(layer)
    with torch.no_grad():
        layer.weight.add_(1.0)

    for _ in range(200):
        averages.update()

    torch.testing.assert_close(averages.modules[0].weight, layer.weight, atol=1e-2, rtol=0)


def test_orthogonalised_singular_values_are_near_one() -> None:
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(0))

    values = torch.linalg.svdvals(orthogonalised(matrix))

    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.5


def test_every_caption_word_is_one_token_and_others_are_spelt() -> None:
    tokenizer = new_tokenizer()

    assert all(len(tokenizer.tokenize(word)) == 1 for word in caption_words())
    assert tokenizer.unk_token not in tokenizer.tokenize("Ätna zxqj")


def test_training_places_avoid_the_held_out_regions() -> None:
    rng = np.random.default_rng(0)

    places = [random_place(rng, 128) for _ in range(300)]

    assert not any(38 < p.longitude < 52 and -2 < p.latitude < 14 for p in places)


def test_light_comes_from_the_upper_left_whatever_the_symmetry(earth: Earth) -> None:
    crops = [cut(earth, Place(0, 20, 64, symmetry=symmetry)) for symmetry in (0, 2)]

    slopes = [np.gradient(crop.height, axis=1)[crop.pixels[..., 0] > 0.2] for crop in crops]
    lit = [crop.pixels[..., 0][crop.pixels[..., 0] > 0.2] for crop in crops]

    assert all(
        np.corrcoef(slope, light)[0, 1] > 0.5 for slope, light in zip(slopes, lit, strict=True)
    )


def test_missing_npm_is_told_as_missing_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(DataUnavailableError, match=r"three-globe.* must be reachable through npm"):
        fetch_earth(tmp_path)
