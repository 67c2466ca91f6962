"""The parts of the training chain, each by itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workers.models.atlas_training.autoencoder import new_autoencoder
from workers.models.atlas_training.diffusion import Averages
from workers.models.atlas_training.earth import (
    DataUnavailableError,
    fetch_earth,
    random_place,
)
from workers.models.atlas_training.latents import standardise
from workers.models.atlas_training.optimiser import orthogonalised
from workers.models.atlas_training.text import caption_words, new_tokenizer
from workers.models.atlas_training.training import Stage, run_stage
from workers.models.train_atlas import bundled, kept_tokenizer


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


def test_missing_npm_is_told_as_missing_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(DataUnavailableError, match=r"three-globe.* must be reachable through npm"):
        fetch_earth(tmp_path)


def test_a_training_keeps_the_tokenizer_it_began_with(tmp_path):
    begun = kept_tokenizer(tmp_path)

    resumed = kept_tokenizer(tmp_path)

    assert resumed.get_vocab() == begun.get_vocab()
    assert resumed.tokenize("dry ice in a desert") == begun.tokenize("dry ice in a desert")


def test_training_on_from_the_bundled_weights_keeps_their_tokenizer(tmp_path):
    tokenizer = kept_tokenizer(tmp_path, warm=True)

    assert tokenizer.get_vocab() == bundled().tokenizer.get_vocab()
