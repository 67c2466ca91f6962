"""Positions, taught to the text encoder and the cross-attentions without the denoiser.

Give the northern queries of every cross-attention the text "snow" and the southern ones "forest",
and a denoiser that knows its subjects paints them there. The queries know where they are, from the
zero padding of the convolutions, so one text can do the same: each attention is taught to answer
"snow in the north, forest in the south" as its former self answers the two apart. No step runs the
denoiser, whose own loss taught no positions in hours.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from workers.models.atlas_training.captions import join_phrases, place_words
from workers.models.atlas_training.diffusion import NATIVE, new_scheduler
from workers.models.atlas_training.latents import BIOMES, LatentSet
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.prompts import HELD_OUT
from workers.models.atlas_training.surface import WATERS
from workers.models.atlas_training.text import token_ids
from workers.models.atlas_training.words import (
    COAST,
    DROPPED,
    ISLANDS,
    OPPOSITE,
    SNOW_MOUNTAINS,
    WORDS,
)

BATCH = 32
# The rest holds the attentions to what they were for every other caption.
PLACED = 0.6


@dataclass(frozen=True)
class Placement:
    """A caption, and the texts it stands for on *side* and on the opposite one."""

    caption: str
    here: str
    there: str
    side: str = "north"


def write_placement(rng: np.random.Generator) -> Placement:
    """A caption with positions, or one without, which stands for itself everywhere."""
    placement = _opposites(rng) if rng.random() < PLACED else _plain(rng)
    return write_placement(rng) if placement.caption in HELD_OUT else placement


def _opposites(rng: np.random.Generator) -> Placement:
    first, second = rng.choice(len(BIOMES), 2, replace=False)
    here, there = (_words(str(rng.choice(BIOMES[biome])), rng) for biome in (first, second))
    side = str(rng.choice(list(OPPOSITE)))
    if rng.random() < 0.2:
        return Placement(join_phrases([place_words(here, side, rng)], rng), here, "", side)
    far = None if rng.random() < 0.2 else OPPOSITE[side]
    phrases = [place_words(here, side, rng), place_words(there, far, rng)]
    if rng.random() < 0.5:
        phrases.reverse()
    return Placement(join_phrases(phrases, rng), here, there, side)


def _plain(rng: np.random.Generator) -> Placement:
    if rng.random() < DROPPED:
        return Placement("", "", "")
    subjects = rng.choice(list(WORDS), int(rng.integers(1, 4)), replace=False)
    phrases = [_words(str(subject), rng) for subject in subjects]
    if rng.random() < 0.25:
        phrases.insert(0, str(rng.choice(ISLANDS + SNOW_MOUNTAINS + COAST)))
    caption = join_phrases(phrases, rng)
    return Placement(caption, caption, caption)


def _words(subject: str, rng: np.random.Generator) -> str:
    words = str(rng.choice(WORDS[subject]))
    is_coast = subject not in WATERS and rng.random() < 0.15
    return f"{words} {rng.choice(COAST)}" if is_coast else words


def cross_attentions(unet: UNet2DConditionModel) -> nn.ModuleList:
    """The layers of *unet* that read the text."""
    return nn.ModuleList(module for name, module in unet.named_modules() if name.endswith(".attn2"))


@torch.no_grad()
def collect_queries(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    latents: LatentSet,
    *,
    count: int,
    seed: int,
) -> list[Tensor]:
    """What every cross-attention is asked ``(count, positions, channels)``, at all noise levels."""
    rng = np.random.default_rng(seed)
    clean, captions = latents.batch(rng, count=count, size=NATIVE)
    steps = torch.arange(count) * 1000 // count
    alphas = new_scheduler().alphas_cumprod[steps][:, None, None, None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    noisy = alphas.sqrt() * clean + (1 - alphas).sqrt() * noise
    states = text(token_ids(tokenizer, captions)).last_hidden_state
    layers, asked = cross_attentions(unet), {}
    hooks = [
        layer.register_forward_pre_hook(lambda one, inputs: asked.update({one: inputs[0]}))
        for layer in layers
    ]
    unet(noisy, steps, states)
    for hook in hooks:
        hook.remove()
    return [asked[layer] for layer in layers]


def teach_positions(
    layers: nn.ModuleList,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    queries: list[Tensor],
    optimiser: Optimiser,
    *,
    former: tuple[nn.ModuleList, CLIPTextModel],
    progress: Callable[[], float],
    seed: int,
    batch: int = BATCH,
) -> Iterator[dict[str, float]]:
    """Train *layers* and *text* until *progress* reaches one; yields the loss of every step.

    *former* is what they were before the first step; *queries* are those of ``collect_queries``.
    """
    rng = np.random.default_rng(seed)
    while (done := progress()) < 1:
        placements = [write_placement(rng) for _ in range(batch)]
        drawn = rng.integers(len(queries[0]), size=batch)
        asked = [one[drawn] for one in queries]
        wanted = apart(*former, tokenizer, asked, placements)
        states = text(token_ids(tokenizer, [one.caption for one in placements])).last_hidden_state
        errors = [
            (layer(ask, states) - target).square().mean() / target.var()
            for layer, ask, target in zip(layers, asked, wanted, strict=True)
        ]
        loss = torch.stack(errors).mean()
        torch.autograd.backward(loss)
        optimiser.step(done)
        yield {"error": float(loss.detach())}


@torch.no_grad()
def apart(
    layers: nn.ModuleList,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    asked: list[Tensor],
    placements: list[Placement],
) -> list[Tensor]:
    """What *layers* answer *asked* when either side is given its own text."""
    here = text(token_ids(tokenizer, [one.here for one in placements])).last_hidden_state
    there = text(token_ids(tokenizer, [one.there for one in placements])).last_hidden_state
    answers = []
    for layer, ask in zip(layers, asked, strict=True):
        edge = round(ask.shape[1] ** 0.5)
        mask = torch.stack([half(one.side, edge) for one in placements])
        answers.append(torch.where(mask, layer(ask, here), layer(ask, there)))
    return answers


def half(side: str, edge: int) -> Tensor:
    """Which of the ``edge**2`` positions, row by row, lie on *side*; bool ``(edge**2, 1)``."""
    row, column = torch.meshgrid(torch.arange(edge), torch.arange(edge), indexing="ij")
    along = row if side in ("north", "south") else column
    is_first = along < edge // 2
    return (is_first if side in ("north", "west") else ~is_first).reshape(-1, 1)


def former_self(
    unet: UNet2DConditionModel, text: CLIPTextModel
) -> tuple[nn.ModuleList, CLIPTextModel]:
    """Copies to learn from, of the cross-attentions of *unet* and of *text*."""
    return copy.deepcopy(cross_attentions(unet)), copy.deepcopy(text)
