import math
import sys
import types
from pathlib import Path

import pytest
import torch

from app.cards import Catalogue
from tests.support.tiny_extras import build_tiny_control, build_tiny_lora
from tests.support.tiny_model import FAMILIES, build_tiny_model
from workers.families.model import Model
from workers.loading import load_model
from workers.upscale.compact import SRVGGNetCompact


@pytest.fixture
def spandrel(monkeypatch):
    """Stands in for spandrel: knows compact networks only, of any scale."""

    class UnsupportedModelError(Exception):
        """What spandrel raises, without a word."""

    def load_from_state_dict(state):
        if "body.6.bias" not in state:
            raise UnsupportedModelError
        scale = math.isqrt(len(state["body.6.bias"]) // 3)
        network = SRVGGNetCompact(features=8, convolutions=2, scale=scale)
        network.load_state_dict(state)
        return types.SimpleNamespace(
            scale=scale, input_channels=3, output_channels=3, model=network
        )

    module = types.ModuleType("spandrel")
    module.UnsupportedModelError = UnsupportedModelError
    module.ModelLoader = lambda: types.SimpleNamespace(load_from_state_dict=load_from_state_dict)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


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
    """A folder with a tiny model of each family, a LoRA and, for UNets, a control network."""
    root = tmp_path_factory.mktemp("families")
    for family in FAMILIES:
        build_tiny_model(root / family, family=family)
    for family in ("sd", "sdxl", "sd3"):
        spoilt = load_model(Catalogue([root]), family, torch.device("cpu"))
        if family != "sd3":
            build_tiny_control(root / f"{family}-tile", spoilt.pipeline)
        build_tiny_lora(root / f"{family}-style", spoilt.pipeline)
    return root


@pytest.fixture(scope="session")
def families(family_folders) -> Catalogue:
    return Catalogue([family_folders])


@pytest.fixture(scope="session", params=FAMILIES)
def family_model(request, families) -> Model:
    """A tiny model, once for each family: what holds for tiles holds for all of them."""
    torch.set_num_threads(1)
    return load_model(families, request.param, torch.device("cpu"))


@pytest.fixture(scope="session")
def sdxl_model(families) -> Model:
    return load_model(families, "sdxl", torch.device("cpu"))


@pytest.fixture(scope="session")
def sd3_model(families) -> Model:
    return load_model(families, "sd3", torch.device("cpu"))
