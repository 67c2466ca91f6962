from dataclasses import replace
from pathlib import Path

import pytest

from app.cards import Catalogue
from app.domain.errors import (
    InvalidRequestError,
    LimitExceededError,
    ModelError,
    PermanentError,
)
from app.domain.spec import Mode
from app.planning import choose_mode, plan_request
from app.schemas import read_request
from app.settings import Settings
from tests.support.tiny_model import build_tiny_model
from tests.unit.domain.cards import SD15


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory) -> Catalogue:
    folder = tmp_path_factory.mktemp("models")
    build_tiny_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def plan(catalogue):
    chosen = Settings(model="tiny", models_path=[Path()])

    def make(**fields):
        return plan_request(read_request({"prompt": "a map"} | fields), catalogue, chosen)

    return make


def test_unset_fields_take_the_models_defaults(plan):
    spec = plan().spec

    assert (spec.steps, spec.guidance, spec.sampler) == (4, 3.0, "ddim")
    assert (spec.tile, spec.overlap) == (64, 20)
    assert (spec.base_model, spec.refine_model) == ("tiny", "tiny")


def quadrant(side):
    box = {"top": 0, "left": 0, "bottom": side, "right": side}
    return {"prompt": "snow", "box": box}


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"height": 64, "width": 64}, Mode.DIRECT),
        ({"height": 256, "width": 256, "upscale": 4}, Mode.DIRECT),
        ({"height": 64, "width": 65}, Mode.REFINE),
        ({"height": 64, "width": 64, "init_image": "inputs/a"}, Mode.REFINE),
        ({"height": 64, "width": 256}, Mode.PHASED),
        ({"height": 512, "width": 512, "regions": [quadrant(256)]}, Mode.PHASED),
        (
            {"height": 512, "width": 512, "regions": [quadrant(256)], "init_image": "inputs/a"},
            Mode.REFINE,
        ),
    ],
    ids=[
        "native size",
        "native before enlarging",
        "larger",
        "a picture to start from",
        "wider than a base",
        "regions too small for a base",
        "regions in a picture to start from",
    ],
)
def test_auto_chooses_direct_only_when_one_window_of_native_size_does(plan, fields, mode):
    assert plan(**fields).spec.mode is mode


@pytest.mark.parametrize(
    ("native", "sides", "mode"),
    [
        (512, [1024], Mode.REFINE),
        (512, [1008], Mode.PHASED),
        (1024, [1024, 520], Mode.REFINE),
        (1024, [1024, 496], Mode.PHASED),
    ],
    ids=["32 latents", "31 latents", "the smallest of two", "the smallest is too small"],
)
def test_a_base_picture_must_be_large_enough_for_every_region(native, sides, mode):
    fields = {"prompt": "a", "height": 2048, "width": 2048}
    request = read_request(fields | {"regions": [quadrant(side) for side in sides]})

    assert choose_mode(request, replace(SD15, native_size=native))[0] is mode


def test_priority_is_no_part_of_the_plan(plan):
    assert plan(priority="high").hash == plan(priority="low").hash


def test_field_order_is_no_part_of_the_plan(plan):
    assert plan(seed=1, steps=5).hash == plan(steps=5, seed=1).hash


def test_defaults_said_aloud_change_nothing(plan):
    assert plan(steps=4, guidance=3, sampler="ddim", tile=64, model="tiny").hash == plan().hash


def test_strength_is_translated_to_noise(plan):
    assert plan(strength=0.25).spec.nsr == pytest.approx(0.67, abs=0.05)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"prompt": "x" * 4001},
            LimitExceededError,
            "prompt must have at most 4000 characters, got 4001",
        ),
        (
            {"regions": [{"prompt": "sea"}, {"prompt": "x" * 4001}]},
            LimitExceededError,
            "regions.1.prompt must have at most 4000 characters, got 4001",
        ),
        (
            {"regions": [{"prompt": "sea", "negative_prompt": "x" * 4001}]},
            LimitExceededError,
            "regions.0.negative_prompt must have at most 4000 characters, got 4001",
        ),
        ({"model": "nope"}, ModelError, "model 'nope' is not known; known models: "),
        (
            {"models": {"upscale": "nope"}},
            InvalidRequestError,
            "models.upscale must be one of realesr-animevideov3, got 'nope'",
        ),
        (
            {"mode": "direct", "init_image": "inputs/a"},
            InvalidRequestError,
            "mode direct takes no init_image; use mode refine",
        ),
        (
            {"mask": "inputs/m", "init_image": "inputs/a"},
            InvalidRequestError,
            "inputs/a is needed to plan this request",
        ),
    ],
    ids=[
        *("prompt", "region", "negative of a region", "model", "upscaler", "direct"),
        "mask without a store",
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_rule(plan, fields, error, message):
    with pytest.raises(PermanentError) as caught:
        plan(**fields)

    assert type(caught.value) is error
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("mode", ["refine", "phased"])
@pytest.mark.parametrize("side", [1024, 2048])
def test_the_bundled_model_paints_the_tiles_that_its_quality_was_measured_with(side, mode):
    request = {"prompt": "a map", "height": side, "width": side, "mode": mode}

    made = plan_request(read_request(request), Catalogue([]), Settings())

    assert (made.spec.refine_model, made.spec.tile, made.spec.overlap) == ("atlas", 128, 40)
