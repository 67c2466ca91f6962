"""The whole of a render, from its first stage to its last: what it gives, and that it always does.

The hashes are of latents rounded to a millionth: double precision holds twelve digits on any
machine. One that changes means that every user's pictures change; raise ``PLAN_VERSION`` then.
"""

import hashlib
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.domain.spec import Mode, Wrap
from app.domain.work import Stage, Work, next_work
from app.jobs import present_keys
from app.merging import assemble_picture, merge_phase
from tests.properties.test_engine import CARD, PICTURE, toy_plan
from tests.properties.test_families import family_plan
from tests.support.engine import ToyModel, ToyModels, run_phases, toy_context
from tests.support.fleet import CrashError, CrashingStore
from workers.loading import load_model
from workers.renderer import Renderer
from workers.stages.context import Context

CPU = torch.device("cpu")


def digest(latents):
    assert latents.dtype == np.float64
    return hashlib.sha256(np.round(latents * 1e6).astype(np.int64).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.REFINE, "f082b547381b8daa"),
        (Mode.PHASED, "cc2fc295e087020f"),
        (Mode.MULTIDIFFUSION, "f6742a3e7d6752f5"),
        (Mode.SPOT, "e116b832f80caacb"),
    ],
    ids=str,
)
def test_plan_noise_and_merge_give_the_latents_they_always_gave(mode, expected):
    render = toy_plan(mode, discard=False, wrap=Wrap.X, sampler="dpm++2m")
    picture = PICTURE if render.starts_from_picture else None

    latents = run_phases(toy_context(ToyModel(CARD)), render, picture=picture)

    assert digest(latents) == expected


def test_nine_tiles_of_a_tiny_model_give_the_latents_they_always_gave(families):
    model = load_model(families, "sd", CPU)
    exact = replace(model, dtype=torch.float64, pipeline=deepcopy(model.pipeline).to(torch.float64))
    render = family_plan(exact.card, Mode.PHASED, height=32, width=32)

    latents = run_phases(toy_context(exact), render)

    assert len(render.phases[0].grid) == 9
    assert digest(latents) == "58d4b4d757d6ee3c"


@pytest.fixture(scope="module")
def painter(families):
    return load_model(families, "sd", CPU)


def full_plan(card):
    """A picture with every stage: base, tiles, a head and several cores."""
    render = family_plan(card, Mode.REFINE, height=80, width=80, nsr=0.7)
    assert render.base is not None
    assert render.decode.freezes_statistics
    return render


def finished(render, model, store):
    """The bytes of the picture; every crash starts a fresh worker."""
    crashes = 0
    while missing := next_work(render, present_keys(store, render)):
        context = Context(store, ToyModels(model), None, 100.0)
        try:
            for work in missing:
                perform(context, render, work)
        except CrashError:
            crashes += 1
    return store.get(Work(Stage.PICTURE, 0).key(render)), crashes


def perform(context, render, work):
    match work.stage:
        case Stage.MERGE:
            merge_phase(context.store, render, work.image, work.phase)
        case Stage.PICTURE:
            assemble_picture(context.store, render, work.image)
        case _:
            context.store.put(
                work.key(render), Renderer(context).render(render, work, lambda: None)
            )


def test_a_crash_at_each_stage_gives_the_same_picture(painter):
    render = full_plan(painter.card)
    expected, _ = finished(render, painter, CrashingStore(0))

    picture, crashes = finished(render, painter, CrashingEverywhere())

    assert picture == expected
    assert crashes >= 7


class CrashingEverywhere(CrashingStore):
    """Ends the first write of every kind of blob with a crash: a unit is done, its blob is not."""

    def __init__(self):
        super().__init__(0)
        self._kinds = set()

    def put(self, key, data):
        kind = key.split("/")[-1].split("-")[0]
        if kind not in self._kinds:
            self._kinds.add(kind)
            raise CrashError
        return super().put(key, data)
