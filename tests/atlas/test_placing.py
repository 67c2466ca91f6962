"""Teaching cross-attentions where things shall lie, apart from the denoiser."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from workers.models import train_atlas
from workers.models.atlas_training.diffusion import Averages
from workers.models.atlas_training.latents import LatentSet
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.placing import (
    Placement,
    apart,
    collect_queries,
    cross_attentions,
    former_self,
    half,
    teach_positions,
    write_placement,
)
from workers.models.atlas_training.surface import SUBJECTS
from workers.models.atlas_training.text import token_ids
from workers.models.atlas_training.words import OPPOSITE, SIDES


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_atlas.bundled().tokenizer


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return train_atlas.bundled()


@pytest.fixture
def unet(pipeline: StableDiffusionPipeline) -> UNet2DConditionModel:
    return copy.deepcopy(pipeline.unet)


@pytest.fixture
def text(pipeline: StableDiffusionPipeline) -> CLIPTextModel:
    return copy.deepcopy(pipeline.text_encoder)


@pytest.fixture
def queries(
    unet: UNet2DConditionModel, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> list[Tensor]:
    shares = np.full((1, 32, 32, len(SUBJECTS)), 25, np.uint8)
    latents = LatentSet(torch.zeros(1, 16, 32, 32), shares)
    return collect_queries(unet, text, tokenizer, latents, count=4, seed=0)


@pytest.mark.parametrize(
    ("side", "rows"),
    [
        ("north", [[1, 1], [0, 0]]),
        ("south", [[0, 0], [1, 1]]),
        ("west", [[1, 0], [1, 0]]),
        ("east", [[0, 1], [0, 1]]),
    ],
    ids=["north", "south", "west", "east"],
)
def test_half_is_the_side_named(side: str, rows: list[list[int]]) -> None:
    assert half(side, 2).reshape(2, 2).int().tolist() == rows


def test_placed_captions_name_the_side_of_what_is_here() -> None:
    rng = np.random.default_rng(0)
    placements = [write_placement(rng) for _ in range(400)]

    placed = [one for one in placements if one.here != one.caption and one.there]

    named = [
        one.here in one.caption and bool(set(SIDES[one.side]) & set(one.caption.split(" ")))
        for one in placed
    ]
    assert len(placed) > 100
    assert {one.side for one in placed} == set(OPPOSITE)
    assert all(one.there in one.caption for one in placed)
    assert np.mean(named) > 0.5


def test_a_caption_without_positions_stands_for_itself() -> None:
    rng = np.random.default_rng(0)

    plain = [one for _ in range(300) if (one := write_placement(rng)).here == one.there]

    sides = {word for words in SIDES.values() for word in words}
    assert len(plain) > 80
    assert all(one.caption == one.here for one in plain)
    assert not any(sides & set(one.caption.replace(",", "").split()) for one in plain)


def test_either_side_is_answered_by_its_own_text(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    queries: list[Tensor],
) -> None:
    layers = cross_attentions(unet)
    asked = [one[:1] for one in queries]

    answers = apart(layers, text, tokenizer, asked, [Placement("", "snow", "sea", "north")])

    snow, sea = (text(token_ids(tokenizer, [word])).last_hidden_state for word in ("snow", "sea"))
    for layer, ask, answer in zip(layers, asked, answers, strict=True):
        middle = ask.shape[1] // 2
        torch.testing.assert_close(answer[:, :middle], layer(ask, snow)[:, :middle])
        torch.testing.assert_close(answer[:, middle:], layer(ask, sea)[:, middle:])


def test_every_cross_attention_is_asked_once(
    unet: UNet2DConditionModel, queries: list[Tensor]
) -> None:
    widths = [layer.to_q.in_features for layer in cross_attentions(unet)]

    assert [ask.shape[2] for ask in queries] == widths
    assert {tuple(ask.shape[:2]) for ask in queries} == {(4, 64), (4, 16)}


def test_teaching_brings_one_text_nearer_to_two(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    queries: list[Tensor],
) -> None:
    layers, former = cross_attentions(unet), former_self(unet, text)
    budget = iter(range(13))

    steps = teach_positions(
        layers,
        text,
        tokenizer,
        queries,
        Optimiser(layers, text, matrix_lr=0.005, other_lr=1e-3),
        former=former,
        progress=lambda: next(budget) / 12,
        seed=0,
        batch=8,
    )
    errors = [step["error"] for step in steps]

    assert sum(errors[-4:]) < sum(errors[:4])
    assert torch.equal(
        former[1].final_layer_norm.weight,
        train_atlas.bundled().text_encoder.final_layer_norm.weight,
    )


def test_export_writes_what_the_cross_attentions_were_taught(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    pipeline: StableDiffusionPipeline,
    tmp_path: Path,
) -> None:
    pipeline.tokenizer.save_pretrained(tmp_path / "tokenizer")
    torch.save(pipeline.vae.state_dict(), tmp_path / "standardised.pt")
    torch.save({"averages": Averages(unet, text).state_dict()}, tmp_path / "denoiser.pt")
    with torch.no_grad():
        cross_attentions(unet)[0].to_q.weight.fill_(0.25)
        text.final_layer_norm.weight.fill_(0.5)
    taught = {"layers": cross_attentions(unet).state_dict(), "text": text.state_dict()}
    torch.save(taught, tmp_path / "positions.pt")

    train_atlas.export(tmp_path, tmp_path / "atlas")

    written = StableDiffusionPipeline.from_pretrained(tmp_path / "atlas", dtype=torch.float32)
    assert (cross_attentions(written.unet)[0].to_q.weight == 0.25).all()
    assert (written.text_encoder.final_layer_norm.weight == 0.5).all()
