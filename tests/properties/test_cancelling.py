"""A worker whose job is cancelled is free after the step it is in, whatever the mode."""

import pytest
import torch

from app.domain.spec import Mode
from app.domain.work import Stage, next_work
from app.jobs import present_keys
from app.merging import merge_phase
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from workers.families.sd import StableDiffusion
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages.context import Context

STEPS = 4


class CancelledError(Exception):
    """The job has ended."""


@pytest.fixture(scope="module")
def models(families):
    return ModelCache(families, torch.device("cpu"))


@pytest.fixture
def history(monkeypatch):
    """What a unit does, one letter each: ``c`` looks whether its job has ended, ``p`` predicts."""
    letters = []
    predict = StableDiffusion.predict

    def watched(self, *arguments, **options):
        letters.append("p")
        return predict(self, *arguments, **options)

    monkeypatch.setattr(StableDiffusion, "predict", watched)
    return letters


def looks(history, end_at=0):
    """A check that tells the history of itself, and ends the job when it is asked that often."""

    def check():
        history.append("c")
        if history.count("c") == end_at:
            raise CancelledError

    return check


def first_units(families, models, mode):
    """The first unit of each rendering stage of a picture in *mode*, with all that it needs."""
    request = {"prompt": "a map", "height": 72, "width": 104, "tile": 64, "steps": STEPS}
    if mode is Mode.DIRECT:
        request["tile"] = 128
    plan = plan_request(
        read_request(request | {"mode": mode}), families, Settings(model="sd", models_path=[])
    )
    context, seen = Context(MemoryStore(), models, None, 100.0), set()
    renderer = Renderer(context)
    while (missing := next_work(plan, present_keys(context.store, plan)))[
        0
    ].stage is not Stage.CORE:
        for work in missing:
            if work.stage is Stage.MERGE:
                merge_phase(context.store, plan, work.image, work.phase)
                continue
            if work.stage in (Stage.BASE, Stage.TILE) and work.stage not in seen:
                seen.add(work.stage)
                yield renderer, plan, work
            context.store.put(work.key(plan), renderer.render(plan, work, lambda: None))


@pytest.mark.parametrize("mode", Mode)
def test_every_step_is_preceded_by_a_look(families, models, history, mode):
    for renderer, plan, work in first_units(families, models, mode):
        history.clear()

        renderer.render(plan, work, looks(history))

        told = "".join(history)
        assert "pp" not in told
        assert told.startswith("cp")
        history.clear()


@pytest.mark.parametrize("mode", Mode)
def test_nothing_is_predicted_after_the_look_that_ends_the_job(families, models, history, mode):
    for renderer, plan, work in first_units(families, models, mode):
        history.clear()

        with pytest.raises(CancelledError):
            renderer.render(plan, work, looks(history, end_at=1))

        assert history == ["c"]
        history.clear()
