"""Each place of the picture reads the text of its own quarter."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from tests.atlas.conftest import SNOW_NORTH
from tests.atlas.test_smoke import counted
from workers.models import train_atlas
from workers.models.atlas_training.apart import cross_attentions, told_apart
from workers.models.atlas_training.autoencoder import new_autoencoder
from workers.models.atlas_training.binding import deepened
from workers.models.atlas_training.diffusion import Averages
from workers.models.atlas_training.latents import LatentSet
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.placing import write_placement
from workers.models.atlas_training.quarters import (
    Code,
    Former,
    quarter_of_positions,
    states_by_quarter,
)
from workers.models.atlas_training.steering import (
    STEERED,
    collect_queries,
    steer,
    teach_positions,
    where,
    write_example,
)


@pytest.fixture
def queries(unet: UNet2DConditionModel, former: Former, latents: LatentSet) -> list[torch.Tensor]:
    return collect_queries(unet, former, latents, count=4, seed=0)


def test_every_cross_attention_is_asked_once(
    unet: UNet2DConditionModel, queries: list[torch.Tensor]
) -> None:
    widths = [layer.to_q.in_features for layer in cross_attentions(unet)]

    assert [asked.shape[2] for asked in queries] == widths
    assert {tuple(asked.shape[:2]) for asked in queries} == {(4, 64), (4, 16)}


def test_where_reads_sides_that_queries_hold() -> None:
    """Queries of which one channel is the row's side and another the column's."""
    quarter = quarter_of_positions(8)
    asked = torch.randn(6, 64, 12, generator=torch.Generator().manual_seed(0))
    asked[..., 3], asked[..., 7] = quarter // 2 * 2.0 - 1, quarter % 2 * 2.0 - 1
    asked[..., 9] = 1.0

    sides = asked @ where(asked)

    assert torch.equal(sides[..., 0].sign(), (quarter // 2 * 2.0 - 1).expand(6, -1))
    assert torch.equal(sides[..., 1].sign(), (quarter % 2 * 2.0 - 1).expand(6, -1))
    assert ((sides[..., 2] - 1).abs() < 0.1).all()


def test_four_times_the_same_text_is_the_former_answer(
    unet: UNet2DConditionModel, former: Former
) -> None:
    noisy, step = torch.randn(2, 16, 16, 16), torch.tensor([400, 900])
    states = former.states(["snow", "sea and forest"])

    with torch.no_grad():
        apart = told_apart(unet)(noisy, step, states.repeat(1, 4, 1)).sample
        once = unet(noisy, step, states).sample

    torch.testing.assert_close(apart, once, atol=1e-5, rtol=0)


def test_every_quarter_is_answered_by_its_own_text(
    unet: UNet2DConditionModel, former: Former, queries: list[torch.Tensor]
) -> None:
    texts = former.states(["snow", "sea", "forest", "red desert"])
    blocks = cross_attentions(told_apart(unet))

    for block, layer, asked in zip(blocks, cross_attentions(unet), queries, strict=True):
        answer = block(asked[:1], texts.flatten(0, 1)[None])
        quarter = quarter_of_positions(round(asked.shape[1] ** 0.5))
        for number, states in enumerate(texts):
            alone = layer(asked[:1], states[None])
            chosen = quarter == number
            torch.testing.assert_close(answer[:, chosen], alone[:, chosen])


def test_steered_attentions_prefer_their_own_quarter(
    unet: UNet2DConditionModel, former: Former, code: Code, queries: list[torch.Tensor]
) -> None:
    """Of queries that hold their side plainly, the padding of their quarter gets most weight."""
    number = STEERED[0]
    layer, asked = cross_attentions(unet)[number], queries[number]
    quarter = quarter_of_positions(round(asked.shape[1] ** 0.5))
    asked[..., 0], asked[..., 1] = quarter // 2 * 8.0 - 4, quarter % 2 * 8.0 - 4
    asked[..., 2] = 4.0
    states = states_by_quarter(former, code, [SNOW_NORTH])

    steer(unet, code, queries, states)

    query, key = (
        layer.head_to_batch_dim(part) for part in (layer.to_q(asked[:1]), layer.to_k(states))
    )
    looks = layer.get_attention_scores(query, key).mean(0)
    length = former.length(SNOW_NORTH.caption)
    shares = torch.stack([looks[:, length + (n - length) % 4 :: 4].sum(1) for n in range(4)], 1)
    assert torch.equal(shares.argmax(1), quarter)


def test_attentions_that_are_not_steered_become_blind_to_codes(
    unet: UNet2DConditionModel, former: Former, code: Code, queries: list[torch.Tensor]
) -> None:
    states = states_by_quarter(former, code, [SNOW_NORTH])

    steer(unet, code, queries, states)

    for number, layer in enumerate(cross_attentions(unet)):
        with_codes, without = (
            layer(queries[number][:1], s) for s in (states, code.without(states))
        )
        is_blind = torch.allclose(with_codes, without, atol=1e-4)
        assert is_blind == (number not in STEERED)


def test_examples_are_the_teachers_answers(
    unet: UNet2DConditionModel, former: Former, latents: LatentSet
) -> None:
    torch.manual_seed(0)
    teacher = told_apart(unet)

    example = write_example(teacher, former, former.text, latents, np.random.default_rng(0), 3)

    rng = np.random.default_rng(0)
    quarters = former.by_quarter([write_placement(rng) for _ in range(3)])
    answer = teacher(example.noisy, example.steps, torch.cat(quarters, 1)).sample
    torch.testing.assert_close(example.velocity, answer)


def test_teaching_moves_the_denoiser_and_not_its_teacher(
    unet: UNet2DConditionModel, former: Former, latents: LatentSet
) -> None:
    teacher = told_apart(unet)
    before = copy.deepcopy(teacher.state_dict())
    optimiser = Optimiser(unet, matrix_lr=0.002, other_lr=4e-4)

    steps = teach_positions(
        unet, teacher, former, former.text, latents, optimiser, progress=counted(2), seed=0, batch=4
    )

    assert all(np.isfinite(step["error"]) for step in list(steps))
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not torch.equal(unet.conv_in.weight, teacher.conv_in.weight)


def test_both_stages_resume_and_are_exported(
    former: Former, unet: UNet2DConditionModel, latents: LatentSet, tmp_path: Path
) -> None:
    """The commands as they are run, with a budget of next to nothing."""
    former.tokenizer.save_pretrained(tmp_path / "tokenizer")
    latents.save(tmp_path / "latents.pt")
    torch.save(new_autoencoder().state_dict(), tmp_path / "standardised.pt")
    torch.save({"averages": Averages(unet, former.text).state_dict()}, tmp_path / "denoiser.pt")
    for _ in range(2):
        train_atlas.binding(tmp_path, minutes=1e-6)
        train_atlas.positions(tmp_path, minutes=1e-6)

    train_atlas.export(tmp_path, tmp_path / "atlas")

    written = StableDiffusionPipeline.from_pretrained(tmp_path / "atlas", dtype=torch.float32)
    layers = len(written.text_encoder.encoder.layers)
    assert layers == len(deepened(former.text).encoder.layers)
    taught = torch.load(tmp_path / "positions.pt", weights_only=True)["unet"]
    torch.testing.assert_close(written.unet.conv_in.weight, taught["conv_in.weight"].half().float())


def test_what_has_learnt_positions_goes_on_but_is_not_taught_them_again(
    former: Former, unet: UNet2DConditionModel, tmp_path: Path
) -> None:
    """As after `denoiser --warm`, which starts from the bundled weights."""
    former.tokenizer.save_pretrained(tmp_path / "tokenizer")
    torch.save(new_autoencoder().state_dict(), tmp_path / "standardised.pt")
    averages = Averages(unet, deepened(former.text)).state_dict()
    torch.save({"averages": averages}, tmp_path / "denoiser.pt")

    train_atlas.export(tmp_path, tmp_path / "atlas")

    assert (tmp_path / "atlas" / "tilechord.json").exists()
    with pytest.raises(typer.BadParameter, match="must have 2 layers, got 5"):
        train_atlas.binding(tmp_path, minutes=1e-6)
