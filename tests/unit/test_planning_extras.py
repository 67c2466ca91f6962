"""LoRAs and control networks in a plan; models for both are written without torch."""

import json

import pytest

from app.cards import Catalogue, write_manifest
from app.domain.errors import InvalidRequestError, LimitExceededError, ModelError, UnsupportedError
from app.domain.spec import ControlSpec, Lora
from app.planning import plan_request
from app.schemas import read_plan, read_request
from app.settings import Settings
from tests.support.card_model import write_card_model


@pytest.fixture
def models(tmp_path):
    write_card_model(tmp_path / "tiny")
    write_card_model(tmp_path / "other")
    for name in ("style", "ink"):
        write(tmp_path / name, "pytorch_lora_weights.safetensors", name)
    write(tmp_path / "tile", "config.json", json.dumps({"_class_name": "ControlNetModel"}))
    kind = {"_class_name": "ControlNetModel", "addition_embed_type": "text_time"}
    write(tmp_path / "tile-xl", "config.json", json.dumps(kind))
    write(tmp_path / "union", "config.json", json.dumps({"_class_name": "ControlNetUnionModel"}))
    return tmp_path


def write(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    write_manifest(folder)


@pytest.fixture
def plan(models):
    chosen = Settings(model="tiny", models_path=[models])

    def make(**fields):
        request = {"prompt": "a map", "height": 128, "width": 128} | fields
        return plan_request(read_request(request), Catalogue([models]), chosen)

    return make


LORAS = [{"name": "style", "weight": 0.8}, {"name": "ink"}]


def test_a_plan_holds_its_loras_and_their_revisions(plan, models):
    order = plan(loras=LORAS)

    assert order.spec.loras == (Lora("style", 0.8), Lora("ink", 1.0))
    assert order.revisions["LoRA style"] == Catalogue([models]).lora_revision("style")
    assert set(order.revisions) == {"tiny", "LoRA style", "LoRA ink"}


def test_a_plan_holds_its_control_network_and_its_revision(plan):
    order = plan(models={"control": "tile"}, control_scale=0.5)

    assert order.spec.control == ControlSpec("tile", 0.5)
    assert set(order.revisions) == {"tiny", "control tile"}


def test_they_survive_the_way_through_json(plan):
    order = plan(loras=LORAS, models={"control": "tile"})

    assert read_plan(order.to_json()).hash == order.hash


@pytest.fixture
def controlled(plan, models):
    """Plans with a model whose card names a control network."""
    card = json.loads((models / "tiny" / "tilechord.json").read_text())
    (models / "tiny" / "tilechord.json").write_text(json.dumps(card | {"control": "tile"}))
    write_manifest(models / "tiny")
    return plan


def test_a_models_own_control_network_holds_tiles_to_their_picture(controlled):
    assert controlled(mode="refine").spec.control == ControlSpec("tile", 1.0)
    assert controlled(mode="phased", init_image="inputs/a").spec.control == ControlSpec("tile", 1.0)
    assert controlled(mode="phased").spec.control is None  # there is no picture to hold to


def test_an_order_has_a_scale_for_a_models_own_control_network(controlled):
    order = controlled(mode="refine", control_scale=0.5)

    assert order.spec.control == ControlSpec("tile", 0.5)


@pytest.mark.parametrize("fields", [{"mode": "phased"}, {"models": {"control": "none"}}])
def test_a_scale_without_a_control_network_in_use_is_refused(controlled, fields):
    with pytest.raises(InvalidRequestError, match=r"^control_scale needs .*, got 0\.5$"):
        controlled(control_scale=0.5, **fields)


def test_an_order_chooses_another_control_network_or_none(controlled):
    assert controlled(mode="refine", models={"control": "none"}).spec.control is None
    with pytest.raises(InvalidRequestError, match="tile-xl is for family sdxl"):
        controlled(mode="refine", models={"control": "tile-xl"})


def test_a_control_network_has_a_scale_of_its_own(plan):
    assert plan(models={"control": "tile"}).spec.control.scale == 1.0


def test_other_weights_of_a_lora_are_another_plan(plan, models):
    before = plan(loras=LORAS).hash

    write(models / "ink", "pytorch_lora_weights.safetensors", "other")

    assert plan(loras=LORAS).hash != before


@pytest.mark.parametrize(
    "change",
    [
        {"loras": [{"name": "style", "weight": 0.7}]},
        {"loras": LORAS[::-1]},
        {"loras": []},
        {"models": {"control": "tile"}, "loras": LORAS},
    ],
    ids=["weight", "order", "none", "control"],
)
def test_what_changes_a_pixel_changes_the_plan(plan, change):
    assert plan(**{"loras": LORAS} | change).hash != plan(loras=LORAS).hash


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"loras": [{"name": "style"}], "models": {"base": "other"}},
            "loras need one model for base and refine, got other and tiny",
        ),
        (
            {"loras": [{"name": "style"}, {"name": "style"}]},
            "loras must name each LoRA once, got 'style' again",
        ),
        (
            {"loras": [{"name": "style", "weight": 9.0}]},
            "loras.0.weight should be less than or equal to 4, got 9.0",
        ),
        (
            {"loras": [{"weight": 1.0}]},
            "loras.0.name is required",
        ),
        (
            {"control_scale": 0.5},
            "control_scale needs models.control, or a model's own control network and a picture "
            "to hold tiles to, got 0.5",
        ),
        (
            {"models": {"control": "tile"}, "mode": "direct"},
            "models.control needs a picture to hold tiles to, which mode direct has none of; "
            "use mode refine or give an init_image",
        ),
        (
            {"models": {"control": "tile"}, "mode": "phased"},
            "models.control needs a picture to hold tiles to, which mode phased has none of; "
            "use mode refine or give an init_image",
        ),
        (
            {"models": {"control": "tile-xl"}},
            "models.control must fit the model: tile-xl is for family sdxl, tiny is of family sd",
        ),
    ],
    ids=[
        "two models",
        "twice",
        "too strong",
        "no name",
        "scale alone",
        "no picture",
        "from noise",
        "other family",
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(plan, fields, sentence):
    with pytest.raises(InvalidRequestError) as caught:
        plan(**fields)

    assert str(caught.value) == sentence


def test_a_picture_of_the_users_own_can_be_held_to_in_any_mode(plan):
    order = plan(models={"control": "tile"}, mode="phased", init_image="inputs/a")

    assert order.spec.control == ControlSpec("tile", 1.0)


def test_another_kind_of_control_network_is_refused(plan):
    with pytest.raises(UnsupportedError) as caught:
        plan(models={"control": "union"})

    assert str(caught.value) == (
        "control network union must be of class ControlNetModel, got ControlNetUnionModel"
    )


@pytest.mark.parametrize(
    ("fields", "kind", "known"),
    [
        ({"loras": [{"name": "nope"}]}, "LoRA", "ink, style"),
        ({"models": {"control": "nope"}}, "control network", "tile, tile-xl, union"),
    ],
    ids=["LoRA", "control"],
)
def test_a_name_nobody_knows_lists_those_that_are(plan, fields, kind, known):
    with pytest.raises(ModelError) as caught:
        plan(**fields)

    assert str(caught.value) == f"{kind} 'nope' is not known; known {kind}s: {known}"


def test_a_window_beyond_the_models_positions_is_refused(plan, models):
    index = {
        "_class_name": "StableDiffusion3Pipeline",
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    }
    transformer = {"sample_size": 16, "patch_size": 2, "pos_embed_max_size": 24, "in_channels": 4}
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (models / "tiny" / "model_index.json").write_text(json.dumps(index))
    (models / "tiny" / "transformer").mkdir()
    (models / "tiny" / "transformer" / "config.json").write_text(json.dumps(transformer))
    path = models / "tiny" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(scheduler))
    write_manifest(models / "tiny")

    assert plan(mode="direct", height=64, width=192)
    with pytest.raises(LimitExceededError) as caught:
        plan(mode="direct", height=64, width=200)

    assert str(caught.value) == "model tiny sees at most 192 px a side, got a window of 200 px"
