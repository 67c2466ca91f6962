"""A render's phases run in this process, without a queue: the reference for every other way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from app.canvas import read_window, write_band
from app.domain.card import ModelCard
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, next_work
from app.jobs import present_keys
from app.measuring import image_figures
from app.merging import assemble_picture, merge_phase
from app.pictures.codecs import decode_array
from app.storage.memory import MemoryStore
from app.storage.port import BlobStore
from tests.support.upscalers import OneUpscaler, TinyUpscaler
from workers.families.conditioning import Conditioning
from workers.families.control import Control
from workers.families.model import Model
from workers.renderer import Renderer
from workers.stages.context import Context

Order = Callable[[Sequence[Work]], Iterable[Work]]


class ToyModel(Model):
    """Predicts the picture by a convolution of radius one: its receptive field is known."""

    def __init__(self, card: ModelCard, dtype: torch.dtype = torch.float64, mode: str = "") -> None:
        super().__init__(card, None, torch.device("cpu"), dtype)
        object.__setattr__(self, "mode", mode)

    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        lengths = torch.tensor([float(len(prompt)) for prompt in prompts])
        return Conditioning(lengths.reshape(-1, 1, 1))

    def predict(
        self,
        x: Tensor,
        sigma: float,
        timestep: float,
        conditioning: Conditioning,
        control: Control | None = None,
    ) -> Tensor:
        kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=x.dtype) / 16
        kernel = kernel.expand(x.shape[1], 1, 3, 3)
        padded = functional.pad(x, (1, 1, 1, 1), mode=self.mode) if self.mode else x
        smooth = functional.conv2d(padded, kernel, padding=0 if self.mode else 1, groups=x.shape[1])
        told = conditioning.repeated(len(x)).text[:, :1, :1, None].to(x.dtype) * 0.01
        seen = smooth.repeat(len(conditioning.text), 1, 1, 1)
        return torch.tanh(seen / (1.0 + sigma)) + told


class ToyModels:
    """The cache of a worker that has one model."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def get(self, plan: RenderPlan, name: str) -> Model:
        return self._model


def hostile(works: Sequence[Work]) -> list[Work]:
    """An order that does everything twice, in any sequence."""
    twice = [*works, *works]
    random.Random(3).shuffle(twice)
    return twice


def toy_context(model: Model, store: BlobStore | None = None) -> Context:
    """A worker that has *model*, its own caches and an upscaler."""
    return Context(
        MemoryStore() if store is None else store,
        ToyModels(model),
        OneUpscaler(TinyUpscaler()),
        100.0,
    )


def run_phases(
    context: Context,
    plan: RenderPlan,
    *,
    picture: NDArray[np.float32] | None = None,
    order: Order = lambda works: works,
) -> NDArray[np.float32]:
    """The finished canvas latents ``(C, H, W)``; *picture* are the latents it starts from."""
    prepare(context, plan, picture)
    while missing := next_of_phases(context.store, plan):
        for work in order(missing):
            run_unit(context, plan, work)
    return finished_latents(context.store, plan)


def prepare(context: Context, plan: RenderPlan, picture: NDArray[np.float32] | None) -> None:
    """What the stage does, without an autoencoder: *picture* is latents."""
    from workers.stages.prepare import _put_prompts
    from workers.stages.walk import encode_prompts

    if Work(Stage.PREPARE, 0).key(plan) in present_keys(context.store, plan):
        return
    model = context.model(plan, plan.spec.refine_model)
    prompts = encode_prompts(model, plan, lambda: None)
    _put_prompts(context, plan, Work(Stage.PREPARE, 0), prompts)
    if picture is not None:
        write_band(context.store, plan, 0, 0, 0, picture)
    context.store.put(Work(Stage.PREPARE, 0).key(plan), b"{}")


def next_of_phases(store: BlobStore, plan: RenderPlan) -> tuple[Work, ...]:
    """Tiles or merges that can be done now; empty when the last phase is merged."""
    missing = next_work(plan, present_keys(store, plan))
    return missing if missing[0].stage in (Stage.TILE, Stage.MERGE) else ()


def next_of_job(store: BlobStore, plan: RenderPlan) -> tuple[Work, ...]:
    """What can be done now; empty when every picture is there."""
    return next_work(plan, present_keys(store, plan))


def finished_latents(store: BlobStore, plan: RenderPlan) -> NDArray[np.float32]:
    """The canvas after the last phase, ``(C, H, W)``."""
    return read_window(
        plan, 0, len(plan.phases), plan.canvas, lambda key: decode_array(store.get(key))
    )


def run_unit(context: Context, plan: RenderPlan, work: Work) -> None:
    """One unit of any stage."""
    match work.stage:
        case Stage.MERGE:
            merge_phase(context.store, plan, work.image, work.phase)
        case Stage.PICTURE:
            assemble_picture(context.store, plan, work.image)
        case _:
            blob = Renderer(context).render(plan, work, lambda: None)
            context.store.put(work.key(plan), blob)


def render_picture(context: Context, plan: RenderPlan) -> dict[str, float]:
    """Every unit of *plan*, up to the stored picture; returns its quality."""
    while missing := next_of_job(context.store, plan):
        for work in missing:
            run_unit(context, plan, work)
    return image_figures(context.store, plan, 0)


def without_base(plan: RenderPlan) -> RenderPlan:
    """*plan* as if its picture were there: the phases alone are run."""
    return replace(plan, base=None, spec=replace(plan.spec, init_image="inputs/picture"))
