"""How a worker gets ready, and what it is spared until then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from app.domain.errors import StorageUnavailableError
from app.exits import ExitCode
from app.own_node import OwnNode
from workers import bootstrap


@pytest.fixture
def embedded(monkeypatch):
    """Settings of a worker, embedded or not."""
    chosen = SimpleNamespace(is_embedded=False)
    monkeypatch.setattr(bootstrap, "settings", lambda: chosen)
    return chosen


def fail_with(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(bootstrap, "own_executor", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModuleNotFoundError("No module named 'diffusers'"), ExitCode.CONFIGURATION),
        (StorageUnavailableError("the store does not answer"), ExitCode.UNREACHABLE),
    ],
)
def test_a_worker_that_cannot_get_ready_ends(monkeypatch, embedded, caplog, error, code):
    fail_with(monkeypatch, error)

    with pytest.raises(SystemExit) as ended:
        bootstrap._prepare()

    assert ended.value.code == code
    assert str(error) in caplog.text


def test_an_embedded_worker_leaves_its_process_as_it_is(monkeypatch, embedded):
    embedded.is_embedded = True
    fail_with(monkeypatch, ModuleNotFoundError("No module named 'diffusers'"))
    monkeypatch.setattr(bootstrap.gc, "freeze", pytest.fail)

    bootstrap._prepare()


def test_the_node_shows_the_models_that_are_loaded_at_the_time(monkeypatch, catalogue, tmp_path):
    node = OwnNode()
    monkeypatch.setattr(bootstrap, "own_node", lambda: node)
    settings = SimpleNamespace(upscalers={}, max_input_mpx=1.0)
    app = SimpleNamespace(catalogue=catalogue, store=None, settings=settings)

    renderer = bootstrap.open_renderer(app, torch.device("cpu"))
    before = node.record()["models"]
    renderer._context._models.warm = ["atlas"]

    assert before == []
    assert node.record()["models"] == ["atlas"]
