"""The training chain on a made-up planet, from crops to a folder that loads."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from workers.models.atlas_training.autoencoder import new_autoencoder, train_autoencoder
from workers.models.atlas_training.diffusion import new_denoiser, train_denoiser
from workers.models.atlas_training.earth import HEIGHT, WIDTH, Earth, Place, build_earth, cut
from workers.models.atlas_training.export import export_folder
from workers.models.atlas_training.latents import LatentSet, encode_crops, standardise
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.text import new_text_encoder, new_tokenizer


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
    torch.set_num_threads(1)  # a second one would wait for a core that is shared
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
    assert json.loads((tmp_path / "tilechord.json").read_text())["default_steps"] == 12


def test_light_comes_from_the_upper_left_whatever_the_symmetry(earth: Earth) -> None:
    crops = [cut(earth, Place(0, 20, 64, symmetry=symmetry)) for symmetry in (0, 2)]

    slopes = [np.gradient(crop.height, axis=1)[crop.pixels[..., 0] > 0.2] for crop in crops]
    lit = [crop.pixels[..., 0][crop.pixels[..., 0] > 0.2] for crop in crops]

    assert all(
        np.corrcoef(slope, light)[0, 1] > 0.5 for slope, light in zip(slopes, lit, strict=True)
    )
