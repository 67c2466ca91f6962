"""Restoration networks in a plan: they are named like upscalers, and no weights are read."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from app.cards import Catalogue
from app.domain.errors import InvalidRequestError
from app.merging import recipe_of
from app.planning import plan_request
from app.schemas import read_plan, read_request
from app.settings import Settings, UpscalerFile
from tests.support.card_model import write_card_model

DEBLUR = UpscalerFile(path=Path("/srv/deblur.safetensors"), sha256="d" * 64, padding=20)
FACES = UpscalerFile(path=Path("/srv/faces.safetensors"), sha256="f" * 64, padding=20)
RESTORED = {"models": {"restore": "deblur"}}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_card_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def plan(catalogue):
    def make(upscalers=None, **fields):
        known = {"deblur": DEBLUR, "faces": FACES} if upscalers is None else upscalers
        order = read_request({"prompt": "a map", "height": 256, "width": 256} | fields)
        return plan_request(order, catalogue, Settings(model="tiny", upscalers=known))

    return make


def test_a_plan_holds_its_restorer_and_its_revision(plan):
    order = plan(**RESTORED)

    assert order.spec.restore == "deblur"
    assert order.revisions == {"restorer deblur": "d" * 64, "tiny": plan().revisions["tiny"]}


def test_a_restorer_takes_room_behind_the_decoder(plan):
    alone, before = plan(mode="phased", **RESTORED), plan(mode="phased", upscale=2, **RESTORED)

    # 20 px are five latents of the tiny model's 4 px; 19 more for super-resolution are ten.
    assert alone.decode.padding - plan(mode="phased").decode.padding == 5
    assert before.decode.padding - plan(mode="phased").decode.padding == 10


def test_a_restorer_changes_the_plan_and_its_series(plan):
    plans = [plan(), plan(**RESTORED), plan(models={"restore": "faces"})]

    assert len({order.hash for order in plans}) == 3
    assert len({order.series for order in plans}) == 3


def test_other_weights_of_a_restorer_are_another_plan(plan):
    other = DEBLUR.model_copy(update={"sha256": "e" * 64})

    assert plan(**RESTORED).hash != plan({"deblur": other}, **RESTORED).hash


def test_orders_without_a_restorer_are_the_bytes_they_were(plan):
    for fields in ({}, {"upscale": 2}, {"models": {"restore": None}}):
        assert b"restore" not in plan(**fields).to_json()
        assert plan(**fields).hash == plan({}, **fields | {"models": {}}).hash


def test_a_plan_with_a_restorer_survives_the_way_through_json(plan):
    order = plan(**RESTORED)

    assert read_plan(order.to_json()) == order
    assert json.loads(order.to_json())["spec"]["restore"] == "deblur"


def test_a_recipe_names_its_restorer_among_the_models(plan):
    request = dict(recipe_of(plan(**RESTORED), 0).request)

    assert request["models"] == {
        "base": "tiny",
        "upscale": "realesr-animevideov3",
        "restore": "deblur",
    }
    assert "restore" not in request
    assert "restore" not in recipe_of(plan(), 0).request["models"]


def test_the_models_of_a_recipe_give_the_same_plan(plan):
    order = plan(**RESTORED)
    models = recipe_of(order, 0).request["models"]

    again = plan(models=models)

    assert asdict(again.spec) == asdict(order.spec)
    assert again.hash == order.hash


@pytest.mark.parametrize(
    ("upscalers", "known"),
    [(None, "deblur, faces"), ({}, "none is set")],
    ids=["another", "none"],
)
def test_a_restorer_nobody_knows_lists_those_that_are(plan, upscalers, known):
    with pytest.raises(InvalidRequestError) as refusal:
        plan(upscalers, models={"restore": "sharpen"})

    assert str(refusal.value) == (
        f"models.restore must be a network of TILECHORD_UPSCALERS ({known}), got 'sharpen'"
    )


def test_the_bundled_upscaler_restores_nothing(plan):
    with pytest.raises(InvalidRequestError, match="must be a network of TILECHORD_UPSCALERS"):
        plan(models={"restore": "realesr-animevideov3"})
