"""Measures what tiles of different sizes cost: ``python -m workers.models.tile_costs --help``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Annotated

import torch
import typer

from app.bootstrap import runtime
from app.domain.card import ModelCard
from app.domain.errors import InvalidRequestError, RenderError
from workers.denoise import guided_denoiser
from workers.device import choose_device
from workers.families.model import Model
from workers.loading import load_model

_LATENT_MULTIPLE = 4  # halves evenly through the levels of every family's network
_SIGMA, _TIMESTEP = 1.0, 400.0

Sizes = Annotated[str, typer.Option(help="Edges in pixels, separated by commas.")]


def default_sizes(card: ModelCard) -> list[int]:
    """Edges from three quarters to twice the native one, in quarters of it."""
    step = card.latent_scale * card.alignment
    multiple = max(step, _LATENT_MULTIPLE * card.latent_scale)
    sizes = {part * card.native_size // 4 // multiple * multiple for part in range(3, 9)}
    return sorted(sizes | {card.native_size})


def measure(
    model: Model,
    sizes: Iterable[int],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Seconds of one guided step by the edge of its tile: the median of *rounds*.

    Sizes take turns, so that whatever else the machine does slows all of them alike.
    """
    denoiser = guided_denoiser(model, model.encode_prompts(["", "a map"]), guidance=2.0)

    def step(size: int) -> float:
        edge = size // model.card.latent_scale
        x = torch.randn((1, model.card.latent_channels, edge, edge))
        start = clock()
        denoiser(x, _SIGMA, _TIMESTEP)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        return clock() - start

    wanted = sorted(sizes)
    for size in wanted:
        step(size)  # the first one allocates
    times = [[step(size) for size in wanted] for _ in range(rounds)]
    return {size: median(column) for size, *column in zip(wanted, *times, strict=True)}


@torch.inference_mode()
def main(
    name: Annotated[str, typer.Argument(help="Model of `tilechord models list`.")],
    sizes: Sizes = "",
    rounds: Annotated[int, typer.Option(min=1, help="Steps of each size.")] = 9,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda[:N].")] = "auto",
) -> None:
    """Print seconds of a step by tile size, and the line for the model's tilechord.json.

    List there only sizes that the model paints well: the planner takes whatever is fastest.
    """
    app = runtime()
    card = app.catalogue.card(name)
    torch.set_num_threads(app.settings.threads or torch.get_num_threads())
    chosen = [read_size(size, card) for size in sizes.split(",")] if sizes else default_sizes(card)
    model = load_model(app.catalogue, name, choose_device(device))
    costs = measure(model, {*chosen, card.native_size}, rounds)
    for size, seconds in costs.items():
        ratio = seconds / costs[card.native_size]
        per_area = ratio * (card.native_size / size) ** 2
        typer.echo(f"{size} px\t{seconds:.4f} s\t{ratio:.2f} of native\t{per_area:.2f} by area")
    table = {str(size): float(f"{costs[size]:.3g}") for size in sorted(chosen)}
    typer.echo(json.dumps({"tile_costs": table}))


def read_size(text: str, card: ModelCard) -> int:
    """An edge that tiles of the model may have."""
    step = card.latent_scale * card.alignment
    if not text.isdecimal() or int(text) == 0 or int(text) % step:
        raise InvalidRequestError(f"--sizes must be multiples of {step} px, got {text[:60]!r}")
    return int(text)


if __name__ == "__main__":
    try:
        typer.run(main)
    except RenderError as err:
        raise SystemExit(f"tile_costs: {err}") from err
