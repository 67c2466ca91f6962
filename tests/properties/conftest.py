import pytest
import torch

from app.cards import Catalogue
from tests.support.tiny_model import build_tiny_model
from workers.loading import load_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    torch.set_num_threads(1)
    return load_model(Catalogue([tiny_folder.parent]), "tiny", torch.device("cpu"))
