from pathlib import Path

import pytest
import torch

from app.cards import Catalogue
from tests.support.tiny_model import build_tiny_model
from workers.loading import Model, load_model


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
