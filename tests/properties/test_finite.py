"""What a network made of NaN is told at once, and never stored: blobs are written once."""

import importlib
import math

import pytest
import torch

from app.domain.errors import RenderFailedError
from app.domain.work import Stage, next_work
from app.jobs import present_keys
from app.merging import merge_phase
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages.context import Context

MAKERS = {
    Stage.BASE: "workers.stages.base.decode",
    Stage.PREPARE: "workers.stages.prepare.encode_bands",
    Stage.TILE: "workers.stages.tile.walk",
    Stage.HEAD: "workers.stages.head.survey_head",
    Stage.CORE: "workers.stages.core.decode_tail",
}
REQUEST = {"prompt": "a map", "height": 96, "width": 528, "steps": 2, "mode": "refine"}
"""Wide enough for a head."""


def spoiled(made):
    """*made*, every number of it NaN."""
    if isinstance(made, tuple):
        return tuple(map(spoiled, made))
    return map(spoiled, made) if hasattr(made, "__next__") else made * math.nan


@pytest.fixture
def context(families):
    return Context(MemoryStore(), ModelCache(families, torch.device("cpu")), None, 100.0)


@pytest.fixture
def plan(families):
    return plan_request(read_request(REQUEST), families, Settings(model="sd", models_path=[]))


def first_of(context, plan, stage):
    """The first unit of *stage*, after all before it was rendered."""
    while (missing := next_work(plan, present_keys(context.store, plan)))[0].stage is not stage:
        for work in missing:
            if work.stage is Stage.MERGE:
                merge_phase(context.store, plan, work.image, work.phase)
            else:
                made = Renderer(context).render(plan, work, lambda: None)
                context.store.put(work.key(plan), made)
    return missing[0]


@pytest.mark.parametrize("stage", MAKERS)
def test_a_unit_of_nan_ends_its_job_by_name_before_anything_is_stored(
    context, plan, monkeypatch, stage
):
    work = first_of(context, plan, stage)
    module, _, name = MAKERS[stage].rpartition(".")
    maker = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(MAKERS[stage], lambda *given, **more: spoiled(maker(*given, **more)))

    with pytest.raises(RenderFailedError, match=rf"^{work.label} came out with NaN"):
        Renderer(context).render(plan, work, lambda: None)

    assert not context.store.exists(work.key(plan))
