import json
import shutil

import pytest

from app.cards import Catalogue, read_revision, verify, write_manifest
from app.domain.errors import ModelError, UnsupportedError
from tests.support.autoencoders import add_tiny_decoder
from tests.support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


def test_a_card_is_read_from_the_models_own_configuration(folder):
    card = Catalogue([folder.parent]).card("tiny")

    assert (card.native_size, card.latent_scale, card.latent_channels) == (64, 4, 4)
    assert (card.vae_levels, card.vae_layers) == (3, 1)
    assert (card.default_steps, card.default_sampler) == (4, "ddim")
    assert card.revision == read_revision(folder)


def test_a_distilled_decoder_beside_the_vae_is_part_of_the_card_and_the_revision(folder):
    before = read_revision(folder)

    add_tiny_decoder(folder, (3, 3, 1))

    card = Catalogue([folder.parent]).card("tiny")
    assert (card.tiny_blocks, card.tiny_padding) == ((3, 3, 1), 17)
    assert card.revision != before


def test_a_distilled_decoder_of_another_model_is_refused(folder):
    add_tiny_decoder(folder, (3, 3, 3, 1), channels=16)

    with pytest.raises(ModelError) as refusal:
        Catalogue([folder.parent]).card("tiny")

    assert str(refusal.value) == (
        "model tiny: vae_tiny must decode 4 channels over 3 levels like its VAE, got 16 over 4"
    )


def test_earlier_folders_hide_later_ones(folder, tmp_path):
    first = shutil.copytree(folder, tmp_path / "first" / "tiny")

    assert Catalogue([first.parent, folder.parent]).folder("tiny") == first


def test_an_intact_model_verifies(folder):
    assert verify(folder) > 5


def test_a_changed_file_is_refused_by_name(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)

    with pytest.raises(ModelError, match=r"^model tiny: SHA-256 of unet/diffusion_pytorch"):
        verify(folder)


def test_a_missing_file_is_refused_by_name(folder):
    (folder / "vae" / "config.json").unlink()

    with pytest.raises(
        ModelError, match=r"^model tiny: vae/config.json is in the manifest but not on disk$"
    ):
        verify(folder)


def test_a_file_that_is_not_listed_is_refused(folder):
    (folder / "unet" / "extra.safetensors").write_bytes(b"")

    with pytest.raises(
        ModelError, match=r"^model tiny: unet/extra.safetensors is not in the manifest$"
    ):
        verify(folder)


def test_a_pickle_is_refused_even_by_the_one_who_writes_the_manifest(folder):
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")

    with pytest.raises(ModelError, match=r"weights must be safetensors, got unet/diffusion"):
        write_manifest(folder)


def test_a_model_without_a_manifest_says_how_to_get_one(folder):
    (folder / "manifest.json").unlink()

    with pytest.raises(ModelError, match=r"has no manifest.json; .*tilechord models verify"):
        Catalogue([folder.parent]).card("tiny")


def test_other_weights_are_another_revision(folder):
    before = read_revision(folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")

    write_manifest(folder)

    assert read_revision(folder) != before


@pytest.mark.parametrize("name", ["../tiny", "/etc", "a\\b", ".hidden"])
def test_a_name_that_leaves_the_model_folders_is_refused(folder, name):
    with pytest.raises(ModelError) as caught:
        Catalogue([folder.parent]).folder(name)

    assert str(caught.value) == f"model must be a name without path separators, got {name!r}"


def test_an_unknown_model_lists_the_known_ones(folder):
    with pytest.raises(ModelError, match=r"^model 'nope' is not known; known models: .*tiny"):
        Catalogue([folder.parent]).folder("nope")


def test_another_family_is_refused(folder):
    change(folder / "model_index.json", _class_name="KolorsPipeline", unet=["diffusers", "Other"])

    with pytest.raises(UnsupportedError) as caught:
        Catalogue([folder.parent]).card("tiny")

    assert str(caught.value) == (
        "model tiny must be of the Stable Diffusion 1/2, XL or 3 kind, got KolorsPipeline"
    )


@pytest.mark.parametrize(
    ("file", "field"),
    [("manifest.json", "files"), ("vae/config.json", "latent_channels")],
)
def test_a_field_missing_from_a_models_files_is_named(folder, file, field):
    values = json.loads((folder / file).read_text())
    del values[field]
    (folder / file).write_text(json.dumps(values))

    with pytest.raises(ModelError) as caught:
        read_card_and_verify(folder)

    assert str(caught.value) == f"model file {folder / file} must have the field {field}"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def read_card_and_verify(folder):
    Catalogue([folder.parent]).card("tiny")
    verify(folder)
