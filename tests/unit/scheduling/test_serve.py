"""The dispatcher's thread, whatever the store does when it starts."""

import pytest

from app.domain.errors import StorageUnavailableError
from app.scheduling import serve
from app.scheduling.serve import DispatcherThread
from tests.support.waiting import wait_for


@pytest.fixture
def refusals(scene, monkeypatch):
    """Why the store refuses the next listings, one each."""
    waiting, keys = [], scene.store.keys

    def refuse(prefix):
        if waiting:
            raise waiting.pop()
        return keys(prefix)

    monkeypatch.setattr(scene.store, "keys", refuse)
    monkeypatch.setattr(serve, "_ROUND_S", 0.01)
    return waiting


@pytest.mark.parametrize(
    "error", [StorageUnavailableError("the store does not answer"), RuntimeError("a bug")]
)
def test_a_dispatcher_that_starts_while_the_store_is_away_serves_when_it_is_back(
    scene, refusals, error
):
    refusals += [error, error, error]
    thread = DispatcherThread(scene.runtime, "control@a")

    thread.start()
    try:
        assert wait_for(lambda: scene.board.shown("pools"))
    finally:
        thread.stop()

    assert refusals == []
    assert not thread.is_alive()
