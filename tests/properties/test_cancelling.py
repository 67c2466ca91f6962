"""A worker whose job is cancelled is free after the part of a unit that it is in, whatever it is.

Parts are what takes long: a denoising step, a prompt, a layer of an autoencoder or an upscaler, a
blob of those that a canvas has many of.
"""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from app.cards import Catalogue
from app.domain.spec import Mode
from app.domain.work import Stage, Work, work_of
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.autoencoders import add_tiny_decoder
from tests.support.engine import render_picture
from tests.support.tiny_model import build_tiny_model
from tests.support.upscalers import OneUpscaler, TinyUpscaler
from workers.families.sd import StableDiffusion
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages.context import Context

RENDERED = (Stage.BASE, Stage.PREPARE, Stage.TILE, Stage.HEAD, Stage.CORE)
LONG = {"mode": Mode.REFINE, "height": 520, "tile": 128}
"""A canvas of two bands and three cores."""
WHOLE = {"top": 0, "left": 0, "bottom": 72, "right": 104}
CASES = {mode.value: {"mode": mode} for mode in Mode} | {
    "direct": {"mode": Mode.DIRECT, "tile": 128},
    "a head": LONG,
    "windows": LONG | {"head": False},
    "enlarged": {"upscale": 2},
    "the tiny decoder": {"decoder": "tiny"},
    "two prompts": {"regions": [{"prompt": "a sea", "box": WHOLE, "feather": 0}]},
    "an edit": LONG | {"init_image": "inputs/picture", "mask": "inputs/mask"},
    "a part again": LONG | {"rerender": True},
}
MANY = re.compile(r"/bands-\d+/|/ground-|/opacity-")
"""Blobs of which a canvas has the more the larger it is."""


class CancelledError(Exception):
    """The job has ended."""


class WatchedStore(MemoryStore):
    """Tells the history what is written and read."""

    def __init__(self, history):
        super().__init__()
        self._history = history

    def put(self, key, data):
        self._history += "p" * bool(MANY.search(key))
        return super().put(key, data)

    def get(self, key):
        self._history += "r" * ("/bands-" in key)
        return super().get(key)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    build_tiny_model(folder / "sd")
    add_tiny_decoder(folder / "sd", (1, 1, 1))
    return Catalogue([folder])


@pytest.fixture(scope="module")
def models(catalogue):
    return ModelCache(catalogue, torch.device("cpu"))


@pytest.fixture(scope="module")
def history():
    """What a unit does, one letter each: ``c`` looks whether its job has ended, ``p`` begins a
    part, ``r`` reads a band."""
    letters = []
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (StableDiffusion, "predict"),
            (StableDiffusion, "encode_prompts"),
            (nn.Conv2d, "forward"),
        ):
            patch.setattr(owner, name, watched(getattr(owner, name), letters))
        yield letters


def watched(function, letters):
    """*function*, which tells *letters* of itself and not of what it consists of."""

    def tell(*arguments, **options):
        before = [*letters, "p"]
        result = function(*arguments, **options)
        letters[:] = before
        return result

    return tell


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def rendered(request, catalogue, models, history):
    """The plan of a case, and the store in which its picture and all it is made from are."""
    fields, store = dict(request.param), WatchedStore(history)
    has_head = fields.pop("head", True)
    size = {"prompt": "a map", "height": 72, "width": 104, "tile": 64, "steps": 4} | fields
    noise = np.random.default_rng(1).integers(0, 256, (size["height"], 104, 3), np.uint8)
    store.put("inputs/picture", png(noise))
    store.put("inputs/mask", png(np.where(noise[..., 0] > 250, 255, 0).astype(np.uint8)))
    settings = Settings(model="sd", models_path=[])
    if size.pop("rerender", False):
        parent = plan_request(read_request(size), catalogue, settings)
        render_picture(context_of(store, models), parent)
        store.put(f"plans/{parent.hash}/plan.json", parent.to_json())
        box = {"top": 0, "left": 0, "bottom": 100, "right": 104}
        size["rerender"] = {"plan_hash": parent.hash, "box": box}
    plan = plan_request(read_request(size), catalogue, settings, store.get)
    if not has_head:
        decode, encode = (replace(part, head=False) for part in (plan.decode, plan.encode))
        plan = replace(plan, decode=decode, encode=encode)
    render_picture(context_of(store, models), plan)
    return plan, store


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def context_of(store, models):
    """That of a worker that has not read anything yet."""
    return Context(store, models, OneUpscaler(TinyUpscaler()), 100.0)


def first_units(plan):
    """The first unit of each stage that workers render."""
    units = [work for group in work_of(plan) for work in group]
    firsts = [[work for work in units if work.stage is stage][:1] for stage in RENDERED]
    return [work for first in firsts for work in first]


def looks(history, end_at=0):
    """A check that tells the history of itself, and ends the job when it is asked that often."""

    def check():
        history.append("c")
        if history.count("c") == end_at:
            raise CancelledError

    return check


def told_of(history, models, rendered, work):
    """The history of *work* when nothing ends it."""
    plan, store = rendered
    history.clear()
    Renderer(context_of(store, models)).render(plan, work, looks(history))
    return "".join(history)


def test_every_part_of_a_unit_is_preceded_by_a_look(models, history, rendered):
    for work in first_units(rendered[0]):
        told = told_of(history, models, rendered, work).replace("r", "")

        assert told.startswith("c"), work
        assert "pp" not in told, work


def test_nothing_is_begun_after_the_look_that_ends_the_job(models, history, rendered):
    plan, store = rendered
    for work in first_units(plan):
        told = told_of(history, models, rendered, work)
        for end_at in {1, -(-told.count("c") // 2), told.count("c")}:
            history.clear()

            with pytest.raises(CancelledError):
                Renderer(context_of(store, models)).render(plan, work, looks(history, end_at))

            last = [place for place, letter in enumerate(told) if letter == "c"][end_at - 1]
            assert "".join(history) == told[: last + 1], work


def test_every_band_that_a_head_reads_is_preceded_by_a_look(models, history, rendered):
    heads = [work for work in first_units(rendered[0]) if work.stage is Stage.HEAD]

    told = [told_of(history, models, rendered, work) for work in heads]

    assert [one for one in told if "rr" in one or one.count("r") != 2] == []


def test_tiles_that_are_denoised_together_are_ended_together(models, history, rendered):
    plan, store = rendered
    works = [Work(Stage.TILE, 0, 0, index) for index in plan.phases[0].indices][:2]
    steps = len(plan.phases[0].steps.timesteps)
    renderer = Renderer(context_of(store, models))
    history.clear()

    renderer.render_tiles(plan, works, looks(history))

    assert "".join(history).replace("r", "").count("cp") == steps
    history.clear()
    with pytest.raises(CancelledError):
        renderer.render_tiles(plan, works, looks(history, end_at=steps))
    assert history.count("p") == steps - 1
