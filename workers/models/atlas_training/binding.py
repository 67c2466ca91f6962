"""Binding subjects to sides: the text encoder learns to tell the quarters apart.

Layers are added that change nothing at first, and all are taught to state each quarter's text in
the padding reserved for it (``workers.models.atlas_training.quarters``). By the error of the
states alone this is not found: both subjects end up everywhere. So two heads of two layers are
shown where to look: the last token of a phrase at its phrase, the padding of a quarter at the last
tokens of the phrases that speak of it.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTextModel

from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.placing import Placement, write_placement, write_plain
from workers.models.atlas_training.quarters import RESERVED, Code, Former, states_by_quarter
from workers.models.atlas_training.text import MAX_TOKENS, token_ids

ADDED = 3
"""Layers."""
SHOWN_HEADS = 2
BATCH = 48
PADDING_SEEN = 10
"""Tokens of padding in a shortened lesson; all of them cost three times as much."""
WHOLE_FROM = 0.9
PLAIN_CAPTIONS = 5000
"""Captions without positions that are drawn from; the former states of each are computed once."""


def deepened(text: CLIPTextModel) -> CLIPTextModel:
    """*text* with ``ADDED`` more layers, which pass on what they are given."""
    config = copy.deepcopy(text.config)
    config.num_hidden_layers += ADDED
    config._attn_implementation = "eager"  # the others do not tell what they look at
    deeper = CLIPTextModel(config)
    deeper.load_state_dict(text.state_dict(), strict=False)
    for layer in deeper.encoder.layers[-ADDED:]:
        for last in (layer.self_attn.out_proj, layer.mlp.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return deeper


@dataclass(frozen=True)
class Lesson:
    """What is read, and what shall be stated and looked at; T tokens of N captions."""

    ids: Tensor
    """int64 ``(N, T)``."""
    places: Tensor
    """The place of every token in the text, int64 ``(N, T)``."""
    states: Tensor
    """``(N, T, width)``, codes included."""
    is_padding: Tensor
    """bool ``(N, T)``."""
    phrases: Tensor
    """Where each token shall look for its phrase, ``(N, T, T)``; a row of zeros is free."""
    sides: Tensor
    """Where each token shall look for the phrases of its quarter, ``(N, T, T)``."""


def write_lesson(former: Former, code: Code, placements: Sequence[Placement]) -> Lesson:
    """The lesson of *placements*, all 77 tokens of each."""
    ids = token_ids(former.tokenizer, [one.caption for one in placements])
    states = states_by_quarter(former, code, placements)
    lengths = torch.tensor([former.length(one.caption) for one in placements])
    looks = [_looks(former, one) for one in placements]
    return Lesson(
        ids=ids,
        places=torch.arange(MAX_TOKENS).expand(len(placements), -1),
        states=states,
        is_padding=torch.arange(MAX_TOKENS)[None] >= lengths[:, None],
        phrases=torch.stack([phrases for phrases, _ in looks]),
        sides=torch.stack([sides for _, sides in looks]),
    )


def _looks(former: Former, placement: Placement) -> tuple[Tensor, Tensor]:
    phrases, sides = torch.zeros(2, MAX_TOKENS, MAX_TOKENS)
    is_padding = torch.arange(MAX_TOKENS) >= former.length(placement.caption)
    for phrase in placement.phrases:
        start, end = _span(former, placement.caption, phrase.words)
        phrases[end - 1, start:end] = 1 / (end - start)
        is_theirs = torch.isin(RESERVED, torch.tensor(phrase.quarters))
        sides[is_padding & is_theirs, end - 1] = 1.0
    sides[is_padding & (sides.sum(1) == 0), 0] = 1.0  # of a quarter that nothing speaks of
    return phrases, sides / sides.sum(1, keepdim=True).clamp(min=1)


def _span(former: Former, caption: str, words: str) -> tuple[int, int]:
    """The tokens of *words* in *caption*, as a slice."""
    at = caption.index(words)
    return former.length(caption[:at].rstrip()), former.length(caption[: at + len(words)])


def shortened(lesson: Lesson, rng: np.random.Generator) -> Lesson:
    """*lesson* with all its words but only some of the padding, any of it."""
    lengths = (~lesson.is_padding).sum(1).tolist()
    size = min(MAX_TOKENS, max(lengths) + PADDING_SEEN)
    kept = [
        np.r_[:length, np.sort(rng.permutation(np.arange(length, MAX_TOKENS))[: size - length])]
        for length in lengths
    ]
    places = torch.from_numpy(np.stack(kept))
    rows = torch.arange(len(places))[:, None]
    return Lesson(
        ids=lesson.ids[rows, places],
        places=places,
        states=lesson.states[rows, places],
        is_padding=lesson.is_padding[rows, places],
        # Only words are looked at, and words stay where they are.
        phrases=lesson.phrases[rows, places][..., :size],
        sides=lesson.sides[rows, places][..., :size],
    )


def teach_binding(
    text: CLIPTextModel,
    former: Former,
    code: Code,
    optimiser: Optimiser,
    *,
    progress: Callable[[], float],
    seed: int,
    batch: int = BATCH,
) -> Iterator[dict[str, float]]:
    """Train *text*, which was deepened, until *progress* reaches one; yields the losses."""
    rng, pool = np.random.default_rng(seed), np.random.default_rng(0)
    plain = [write_plain(pool) for _ in range(PLAIN_CAPTIONS)]
    while (done := progress()) < 1:
        drawn = [write_placement(rng) for _ in range(batch)]
        drawn = [one if one.is_placed else plain[rng.integers(len(plain))] for one in drawn]
        lesson = write_lesson(former, code, drawn)
        losses = binding_losses(text, code, lesson if done > WHOLE_FROM else shortened(lesson, rng))
        loss = 10 * losses["error"] + losses["code"] + 0.3 * (losses["phrases"] + losses["sides"])
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimiser.step(done)
        yield {name: float(value.detach()) for name, value in losses.items()}


def binding_losses(text: CLIPTextModel, code: Code, lesson: Lesson) -> dict[str, Tensor]:
    """How far *text* is from *lesson*: states of padding, codes of all tokens, attentions."""
    answer = text(lesson.ids, position_ids=lesson.places, output_attentions=True)
    missed = answer.last_hidden_state - lesson.states
    codes = code.parts(missed).square().sum(-1)
    first = -ADDED
    return {
        "error": missed.square().mean(-1)[lesson.is_padding].mean(),
        "code": codes[lesson.is_padding].mean() + codes[~lesson.is_padding].mean(),
        "phrases": _astray(answer.attentions[first][:, :SHOWN_HEADS], lesson.phrases),
        "sides": _astray(answer.attentions[first + 1][:, :SHOWN_HEADS], lesson.sides),
    }


def _astray(looks: Tensor, wanted: Tensor) -> Tensor:
    """Divergence of *looks* ``(N, heads, T, T)`` from *wanted* ``(N, T, T)``, free rows aside."""
    divergence = nn.functional.kl_div(
        looks.clamp(min=1e-6).log(), wanted[:, None].expand_as(looks), reduction="none"
    ).sum(-1)
    return divergence.transpose(1, 2)[wanted.sum(-1) > 0].mean()
