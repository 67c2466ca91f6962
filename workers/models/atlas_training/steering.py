"""Steering: each place of the picture reads the text of its own quarter.

The queries of a cross-attention know where they are, from the zero padding of the convolutions: a
linear map of them tells the side of two to nine in ten. So it need not be learnt to look at one's
own quarter (``workers.models.atlas_training.quarters``), it is written into the weights of the
attentions that read much of the text. Then the whole denoiser learns to answer one text as its
former self answers each quarter given its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from transformers import CLIPTextModel

from workers.models.atlas_training.apart import cross_attentions
from workers.models.atlas_training.diffusion import NATIVE, new_scheduler, sampled_steps
from workers.models.atlas_training.latents import LatentSet
from workers.models.atlas_training.optimiser import Optimiser
from workers.models.atlas_training.placing import write_placement
from workers.models.atlas_training.quarters import (
    AMPLITUDE,
    Code,
    Former,
    quarter_of_positions,
)
from workers.models.atlas_training.text import token_ids

BATCH = 32
STEERED = (1, 4, 5)
"""The cross-attentions, in the network's order, whose answers depend on the text."""
STRENGTHS = (20.0, 20.0, 30.0)
"""Logits by which a query prefers its own side, along either axis, and the start to words."""
_RIDGE = 0.01


@torch.no_grad()
def collect_queries(
    unet: UNet2DConditionModel, former: Former, latents: LatentSet, *, count: int, seed: int
) -> list[Tensor]:
    """What every cross-attention is asked ``(count, positions, channels)``, at all noise levels."""
    rng = np.random.default_rng(seed)
    clean, captions = latents.batch(rng, count=count, size=NATIVE)
    steps = torch.arange(count) * 1000 // count
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    layers, asked = cross_attentions(unet), {}
    hooks = [
        layer.register_forward_pre_hook(lambda one, inputs: asked.update({one: inputs[0]}))
        for layer in layers
    ]
    unet(_noised(clean, noise, steps), steps, former.states(captions))
    for hook in hooks:
        hook.remove()
    return [asked[layer] for layer in layers]


def steer(unet: UNet2DConditionModel, code: Code, queries: list[Tensor], states: Tensor) -> None:
    """Make the cross-attentions of *unet* read the codes of *states* ``(N, 77, width)``.

    Those that read little of the text only become blind to the codes.
    """
    for number, (layer, asked) in enumerate(zip(cross_attentions(unet), queries, strict=True)):
        with torch.no_grad():
            for weight in (layer.to_k.weight, layer.to_v.weight):
                weight.copy_(code.without(weight))
            if number in STEERED:
                _steer(layer, code, asked, states)


def _steer(layer: Attention, code: Code, asked: Tensor, states: Tensor) -> None:
    """Let every head compare codes, along the three directions that it used least before."""
    sides = where(asked)
    told = (asked @ sides).abs().mean(dim=(0, 1)).clamp(min=0.3)
    size = layer.to_q.out_features // layer.heads
    gains = (torch.tensor(STRENGTHS) * size**0.5 / AMPLITUDE) ** 0.5
    queries = (asked.flatten(0, 1) @ layer.to_q.weight.T).split(size, 1)
    keys = (states.flatten(0, 1) @ layer.to_k.weight.T).split(size, 1)
    for head, (query, key) in enumerate(zip(queries, keys, strict=True)):
        rows = slice(head * size, (head + 1) * size)
        free = _least_held(query, key - key.mean(0))
        for weight, carried in (
            (layer.to_q.weight, sides / told),
            (layer.to_k.weight, code.directions),
        ):
            kept = weight[rows] - free @ free.T @ weight[rows]
            weight[rows] = kept + free * gains @ carried.T


def where(asked: Tensor) -> Tensor:
    """The linear map ``(channels, 3)`` that tells best where queries ``(N, P, channels)`` are.

    South counts one and north minus one, east one and west minus one; the third is one everywhere.
    """
    count, positions, channels = asked.shape
    quarter = quarter_of_positions(round(positions**0.5))
    sides = torch.stack([quarter // 2 * 2 - 1, quarter % 2 * 2 - 1, torch.ones_like(quarter)], 1)
    flat = asked.flatten(0, 1)
    products = flat.T @ flat / len(flat)
    products += _RIDGE * products.diag().mean() * torch.eye(channels)
    found: Tensor = torch.linalg.solve(
        products, flat.T @ sides.float().repeat(count, 1) / len(flat)
    )
    return found


def _least_held(*parts: Tensor) -> Tensor:
    """Three directions ``(size, 3)`` along which the *parts* ``(N, size)`` hold least."""
    held = [part.T @ part / part.square().sum() for part in parts]
    vectors: Tensor = torch.linalg.eigh(torch.stack(held).sum(0)).eigenvectors
    return vectors[:, :3]


@dataclass(frozen=True)
class Example:
    """Noisy latents, the texts' states, and the velocity that the former denoiser predicts."""

    noisy: Tensor
    steps: Tensor
    states: Tensor
    velocity: Tensor


@torch.no_grad()
def write_example(
    teacher: UNet2DConditionModel,
    former: Former,
    text: CLIPTextModel,
    latents: LatentSet,
    rng: np.random.Generator,
    batch: int,
) -> Example:
    """What *teacher*, told each quarter's text apart, answers about noisy windows of *latents*.

    The states are those of *text* as it was taught, so that its errors are learnt to be read.
    """
    placements = [write_placement(rng) for _ in range(batch)]
    quarters = former.by_quarter(placements)
    ids = token_ids(former.tokenizer, [one.caption for one in placements])
    states = text(ids).last_hidden_state
    clean, _ = latents.batch(rng, count=batch, size=NATIVE)
    steps = sampled_steps(batch)
    noisy = _noised(clean, torch.randn_like(clean), steps)
    velocity = teacher(noisy, steps, torch.cat(quarters, 1)).sample
    return Example(noisy, steps, states, velocity)


def teach_positions(
    unet: UNet2DConditionModel,
    teacher: UNet2DConditionModel,
    former: Former,
    text: CLIPTextModel,
    latents: LatentSet,
    optimiser: Optimiser,
    *,
    progress: Callable[[], float],
    seed: int,
    batch: int = BATCH,
) -> Iterator[dict[str, float]]:
    """Train *unet*, which was steered, until *progress* reaches one; yields the errors."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    while (done := progress()) < 1:
        example = write_example(teacher, former, text, latents, rng, batch)
        answer = unet(example.noisy, example.steps, example.states).sample
        loss = (answer - example.velocity).square().mean()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step(done)
        yield {"error": float(loss.detach())}


def _noised(clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
    alphas = new_scheduler().alphas_cumprod[steps][:, None, None, None]
    noisy: Tensor = alphas.sqrt() * clean + (1 - alphas).sqrt() * noise
    return noisy
