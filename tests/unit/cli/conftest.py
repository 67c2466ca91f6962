from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.bootstrap import runtime
from app.results import EmbeddedBackend
from app.settings import settings
from tests.support.card_model import write_card_model
from tests.support.installation import Installation


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_card_model(root / "tiny")
    return root


@pytest.fixture
def installation(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    made = Installation(tmp_path, models, "tiny", {"TILECHORD_MAX_TILES": "1000"})
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    # Results outlive a test, and its jobs have the names of other tests' jobs.
    monkeypatch.setattr(EmbeddedBackend, "_values", {})
    _forget_settings()
    yield made
    _forget_settings()


def _forget_settings() -> None:
    settings.cache_clear()
    runtime.cache_clear()
