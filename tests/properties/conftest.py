import pytest
import torch

from tests.support.autoencoders import build_autoencoder
from tests.unit.workers.conftest import (
    catalogue,
    families,
    family_folders,
    family_model,
    sd3_model,
    sdxl_model,
    tiny,
    tiny_folder,
)

__all__ = [
    "catalogue",
    "families",
    "family_folders",
    "family_model",
    "sd3_model",
    "sdxl_model",
    "tiny",
    "tiny_folder",
]


@pytest.fixture(scope="module")
def vae():
    torch.set_num_threads(1)
    return build_autoencoder()
