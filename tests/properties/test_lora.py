import shutil

import pytest
import torch

from app.cards import Catalogue, Kind, lora_file, write_manifest
from app.domain.errors import ModelError
from app.domain.spec import Lora
from workers.denoise import guided_denoiser
from workers.families.lora import fuse_loras
from workers.loading import load_model

CPU = torch.device("cpu")


def prediction(model):
    prompts = model.encode_prompts(["fog", "a map"])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, model.card.latent_channels, 8, 8, generator=generator)
    with torch.inference_mode():
        return guided_denoiser(model, prompts, 3.0)(x, 1.0, 500)


def style(families, family):
    return lora_file(families.folder(f"{family}-style", Kind.LORA))


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3"])
def test_a_lora_added_to_the_weights_equals_one_that_diffusers_attaches(families, family):
    model = load_model(families, family, CPU)
    path, plain = style(families, family), prediction(model)
    model.pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="style")
    model.pipeline.set_adapters(["style"], [0.7])
    theirs = prediction(model)
    model.pipeline.unload_lora_weights()

    fuse_loras(model.pipeline, [(path, 0.7)])

    torch.testing.assert_close(prediction(model), theirs, atol=1e-5, rtol=1e-4)
    assert (theirs - plain).abs().max() > 1e-3


def test_two_loras_add_up(families, family_folders):
    shutil.copytree(family_folders / "sd-style", family_folders / "sd-again")
    both = [Lora("sd-style", 0.5), Lora("sd-again", 0.25)]

    together = load_model(families, "sd", CPU, loras=both)

    once = load_model(families, "sd", CPU, loras=[Lora("sd-style", 0.75)])
    torch.testing.assert_close(prediction(together), prediction(once), atol=1e-5, rtol=1e-4)


def test_nothing_of_the_loader_is_left_in_the_model(families):
    model = load_model(families, "sdxl", CPU, loras=[Lora("sdxl-style", 1.0)])

    parts = [type(part).__module__ for part in model.pipeline.unet.modules()]
    assert not [name for name in parts if name.startswith("peft")]
    assert model.pipeline.get_list_adapters() == {}


@pytest.mark.parametrize(
    ("family", "other"),
    [("sd", "sdxl"), ("sdxl", "sd"), ("sdxl", "sd3"), ("sd3", "sd")],
)
def test_a_lora_of_another_family_is_refused_in_one_sentence(families, family, other, capfd):
    with pytest.raises(ModelError) as caught:
        load_model(families, family, CPU, loras=[Lora(f"{other}-style", 1.0)])

    text = str(caught.value)
    assert text.startswith(f"LoRA {other}-style does not fit its model: ")
    assert "\n" not in text
    assert len(text) < 300
    assert capfd.readouterr().err == ""


def test_a_model_without_loras_is_left_alone(families):
    model = load_model(families, "sd", CPU)
    before = prediction(model)

    fuse_loras(model.pipeline, [])

    torch.testing.assert_close(prediction(model), before, rtol=0, atol=0)


def test_a_lora_of_several_files_is_refused(families, tmp_path):
    folder = shutil.copytree(families.folder("sd-style", Kind.LORA), tmp_path / "two")
    shutil.copy(lora_file(folder), folder / "more.safetensors")
    shutil.copytree(families.folder("sd"), tmp_path / "sd")
    write_manifest(folder)

    with pytest.raises(ModelError) as caught:
        load_model(Catalogue([tmp_path]), "sd", CPU, loras=[Lora("two", 1.0)])

    assert str(caught.value) == "LoRA two must be one safetensors file, got 2"


def test_a_changed_lora_is_refused(families, tmp_path):
    folder = shutil.copytree(families.folder("sd-style", Kind.LORA), tmp_path / "changed")
    shutil.copytree(families.folder("sd"), tmp_path / "sd")
    lora_file(folder).write_bytes(b"other")

    with pytest.raises(ModelError, match=r"^model changed: SHA-256 of pytorch_lora_weights"):
        load_model(Catalogue([tmp_path]), "sd", CPU, loras=[Lora("changed", 1.0)])
