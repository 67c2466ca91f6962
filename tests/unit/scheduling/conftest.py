import pytest

from app.domain.errors import StorageUnavailableError
from tests.unit.scheduling.scene import Scene


class Refusals:
    """Which keys the store does not serve, why, and how often it was asked for them."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.is_away = False
        self.error: Exception = StorageUnavailableError("store m cannot serve the blob")
        self.asked = 0

    def check(self, key: str) -> None:
        if key in self.keys or self.is_away:
            self.asked += 1
            raise self.error


@pytest.fixture
def scene() -> Scene:
    """An installation without servers: a store, a board, a clock moved by hand."""
    return Scene()


@pytest.fixture
def refusals(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Let the scene's store refuse some keys, or all."""
    found = Refusals()
    for name in ("get", "exists", "put", "keys"):
        answer = getattr(scene.store, name)

        def refuse(key, *more, answer=answer):
            found.check(key)
            return answer(key, *more)

        monkeypatch.setattr(scene.store, name, refuse)
    return found
