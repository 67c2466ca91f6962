"""An installation whose worker is in this very process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap import runtime
from app.settings import settings
from tests.support.installation import Installation
from tests.support.tiny_model import build_tiny_model
from workers.bootstrap import own_executor

REQUEST = {"prompt": "a hill", "height": 64, "width": 64, "steps": 1}
WAIT_S = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    build_tiny_model(root / "tiny")
    return root


@pytest.fixture(autouse=True)
def installation(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    made = Installation(tmp_path, models, "tiny")
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    caches = (settings, runtime, own_executor)
    for cache in caches:
        cache.cache_clear()
    yield made
    for thread in worker_threads():
        thread.join(WAIT_S)
    for cache in caches:
        cache.cache_clear()


def worker_threads() -> list[threading.Thread]:
    """Embedded workers that still run."""
    return [thread for thread in threading.enumerate() if thread.name == "tilechord-worker"]
