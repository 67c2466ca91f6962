import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.cards import Catalogue, Kind, lora_file, write_manifest
from app.domain.errors import ModelError
from app.domain.spec import ControlSpec, Lora
from app.model_files import TINY_DECODER
from tests.support.autoencoders import add_tiny_decoder
from tests.unit.domain.cards import plan
from workers import loading
from workers.denoise import guided_denoiser
from workers.loading import ModelCache
from workers.vae import decode_tiny

CPU = torch.device("cpu")
NAMES = ("sd", "sd-v", "sdxl")


@pytest.fixture
def cache(families):
    return ModelCache(families, CPU)


@pytest.fixture
def loaded(monkeypatch):
    """What is loaded from now on, in order; the models themselves are left out."""
    names = []

    def record(catalogue, name, device, *, loras=()):
        names.append((name, *(lora.name for lora in loras)))
        return object()

    monkeypatch.setattr(loading, "load_model", record)
    return names


def order(catalogue, *loras, control=None):
    """A plan for every model, with the revisions as they are now."""
    revisions = {name: catalogue.card(name).revision for name in NAMES}
    revisions |= {lora.label: catalogue.lora_revision(lora.name) for lora in loras}
    if control:
        revisions[control.label] = catalogue.control_card(control.name).revision
    made = plan()
    return replace(made, spec=replace(made.spec, loras=loras, control=control), revisions=revisions)


def test_a_model_is_loaded_once(cache, families, loaded):
    first = cache.get(order(families), "sd")

    assert cache.get(order(families), "sd") is first
    assert loaded == [("sd",)]


def test_the_models_that_are_loaded_are_named(cache, families, loaded):
    style = Lora("sd-style", 0.5)
    cache.get(order(families), "sd")
    cache.get(order(families, style), "sd")
    assert cache.warm == ["sd", "sd+sd-style"]

    cache.get(order(families), "sdxl")

    assert cache.warm == ["sd+sd-style", "sdxl"]


def test_a_model_with_a_lora_is_another_model(cache, families, loaded):
    plain = cache.get(order(families), "sd")
    styled = cache.get(order(families, Lora("sd-style", 0.5)), "sd")

    assert cache.get(order(families), "sd") is plain
    assert cache.get(order(families, Lora("sd-style", 0.5)), "sd") is styled
    assert loaded == [("sd",), ("sd", "sd-style")]


def test_the_model_used_least_makes_room_for_the_next(cache, families, loaded):
    for name in ("sd", "sd-v", "sd", "sdxl", "sd", "sd-v"):
        cache.get(order(families), name)

    assert loaded == [("sd",), ("sd-v",), ("sdxl",), ("sd-v",)]


def test_room_is_made_before_a_model_is_loaded(cache, families, loaded, monkeypatch):
    cache.get(order(families), "sd")
    cache.get(order(families), "sd-v")
    held = []
    monkeypatch.setattr(
        loading, "load_model", lambda *args, **options: held.append(len(cache._models))
    )

    cache.get(order(families), "sdxl")

    assert held == [1]


@pytest.mark.parametrize(
    ("label", "kind"),
    [("sd", "model sd"), ("LoRA sd-style", "LoRA sd-style")],
    ids=["model", "LoRA"],
)
def test_files_of_another_revision_are_refused(cache, families, label, kind):
    asked = order(families, Lora("sd-style", 1.0))
    found = asked.revisions[label][:12]

    with pytest.raises(ModelError) as caught:
        cache.get(replace(asked, revisions=asked.revisions | {label: "0" * 64}), "sd")

    assert str(caught.value) == (
        f"the plan needs revision 000000000000 of {kind}, this worker has {found}"
    )


def test_a_control_network_of_another_revision_is_refused(cache, families):
    control = ControlSpec("sd-tile", 1.0)
    asked = order(families, control=control)
    found = asked.revisions[control.label][:12]
    other = replace(asked, revisions=asked.revisions | {control.label: "0" * 64})

    with pytest.raises(ModelError) as caught:
        cache.control(other, control, torch.float32)

    assert str(caught.value) == (
        f"the plan needs revision 000000000000 of control network sd-tile, this worker has {found}"
    )


def test_a_control_network_is_loaded_once_in_its_models_precision(cache, families):
    control = ControlSpec("sd-tile", 1.0)
    asked = order(families, control=control)

    network = cache.control(asked, control, torch.bfloat16)

    assert network.dtype is torch.bfloat16
    assert cache.control(asked, replace(control, scale=0.5), torch.bfloat16) is network


def test_new_weights_are_loaded_beside_the_old_ones(families, tmp_path, loaded):
    shutil.copytree(families.folder("sd-style", Kind.LORA), tmp_path / "sd-style")
    catalogue = Catalogue([tmp_path, families.folder("sd").parent])
    cache, lora = ModelCache(catalogue, CPU), Lora("sd-style", 1.0)
    old = cache.get(order(catalogue, lora), "sd")
    weights = lora_file(tmp_path / "sd-style")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    write_manifest(tmp_path / "sd-style")

    new = cache.get(order(catalogue, lora), "sd")

    assert new is not old


def prediction(model):
    prompts = model.encode_prompts(["fog", "a map"])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, model.card.latent_channels, 8, 8, generator=generator)
    with torch.inference_mode():
        return guided_denoiser(model, prompts, 3.0)(x, 1.0, 500)


@pytest.mark.parametrize(("family", "error"), [("sdxl", 0.01), ("sd3", 0.04)])
def test_half_precision_predicts_nearly_the_same(families, monkeypatch, family, error):
    exact = prediction(loading.load_model(families, family, CPU))
    monkeypatch.setattr(loading, "choose_dtype", lambda device, half: half)

    found = prediction(loading.load_model(families, family, CPU))

    assert found.dtype is torch.float32
    torch.testing.assert_close(found, exact, atol=error, rtol=0)


def test_the_decoder_computes_in_single_precision(families, monkeypatch):
    monkeypatch.setattr(loading, "choose_dtype", lambda device, half: half)

    found = {name: loading.load_model(families, name, CPU) for name in ("sdxl", "sd3")}

    assert found["sdxl"].dtype is torch.float16
    assert {model.vae.dtype for model in found.values()} == {torch.float32}
    assert found["sd3"].pipeline.transformer.dtype is torch.bfloat16
    assert found["sdxl"].pipeline.text_encoder_2.dtype is torch.float16


def test_a_distilled_decoder_is_loaded_beside_the_vae(families, tmp_path):
    folder = shutil.copytree(families.folder("sd"), tmp_path / "with-tiny")
    add_tiny_decoder(folder, (3, 3, 1))

    model = loading.load_model(Catalogue([tmp_path]), "with-tiny", CPU)

    assert loading.load_model(families, "sd", CPU).tiny is None
    assert model.tiny.dtype is torch.float32
    assert decode_tiny(model.tiny, np.zeros((4, 8, 8), np.float32)).shape == (32, 32, 3)


def test_a_broken_distilled_decoder_is_named(families, tmp_path):
    folder = shutil.copytree(families.folder("sd"), tmp_path / "broken")
    add_tiny_decoder(folder, (3, 3, 1))
    (folder / TINY_DECODER / "diffusion_pytorch_model.safetensors").write_bytes(b"junk")
    write_manifest(folder)

    with pytest.raises(ModelError, match=r"^vae_tiny of model broken cannot be loaded: "):
        loading.load_model(Catalogue([tmp_path]), "broken", CPU)
