from pathlib import Path

import pytest
import torch

from app.cards import Catalogue
from tests.support.tiny_model import FAMILIES, build_tiny_model
from workers.families.model import Model
from workers.loading import load_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def catalogue(tiny_folder) -> Catalogue:
    return Catalogue([tiny_folder.parent])


@pytest.fixture(scope="session")
def tiny(catalogue) -> Model:
    torch.set_num_threads(1)
    return load_model(catalogue, "tiny", torch.device("cpu"))


@pytest.fixture(scope="session")
def family_folders(tmp_path_factory) -> Path:
    """A folder with a tiny model of each family, by the family's name."""
    root = tmp_path_factory.mktemp("families")
    for family in FAMILIES:
        build_tiny_model(root / family, family=family)
    return root


@pytest.fixture(scope="session", params=FAMILIES)
def family_model(request, family_folders) -> Model:
    """A tiny model, once for each family: what holds for tiles holds for all of them."""
    torch.set_num_threads(1)
    return load_model(Catalogue([family_folders]), request.param, torch.device("cpu"))


@pytest.fixture(scope="session")
def sdxl_model(family_folders) -> Model:
    return load_model(Catalogue([family_folders]), "sdxl", torch.device("cpu"))


@pytest.fixture(scope="session")
def sd3_model(family_folders) -> Model:
    return load_model(Catalogue([family_folders]), "sd3", torch.device("cpu"))
