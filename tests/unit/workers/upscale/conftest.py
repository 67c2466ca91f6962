import sys
import types

import pytest

from workers.upscale.compact import SRVGGNetCompact


@pytest.fixture
def spandrel(monkeypatch):
    """Stands in for spandrel: knows compact networks only."""

    def load_from_state_dict(state):
        network = SRVGGNetCompact(features=8, convolutions=2)
        network.load_state_dict(state)
        return types.SimpleNamespace(scale=4, input_channels=3, output_channels=3, model=network)

    module = types.ModuleType("spandrel")
    module.ModelLoader = lambda: types.SimpleNamespace(load_from_state_dict=load_from_state_dict)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module
