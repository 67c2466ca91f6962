from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("/a", [Path("/a")]),
        ("/a:/b c", [Path("/a"), Path("/b c")]),
    ],
    ids=["one", "two"],
)
def test_model_folders_are_separated_as_in_path(
    text: str, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILECHORD_MODELS_PATH", text)

    assert Settings().models_path == folders


def test_no_model_folders_are_set_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILECHORD_MODELS_PATH", raising=False)

    assert Settings().models_path == []
