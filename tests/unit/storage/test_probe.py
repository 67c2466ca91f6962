"""The probe has to see through stores that only pretend to write once."""

import pytest

from app.domain.errors import ConfigurationError
from app.storage.memory import MemoryStore
from app.storage.probe import probe_writes_once


class LastWriterWins(MemoryStore):
    """What a bucket does that ignores ``If-None-Match``."""

    def put(self, key: str, data: bytes) -> bool:
        self.delete(key)
        super().put(key, data)
        return True


class NobodyWins(MemoryStore):
    def put(self, key: str, data: bytes) -> bool:
        super().put(key, data)
        return False


class ForgetsTheWinner(MemoryStore):
    def get(self, key: str) -> bytes:
        return b"9"


def test_a_store_that_replaces_is_refused():
    with pytest.raises(ConfigurationError) as refused:
        probe_writes_once(LastWriterWins(), name="bucket b")

    assert str(refused.value) == (
        "bucket b must let exactly one of 8 racing writers win, got 8 winners"
    )


def test_a_store_without_a_winner_is_refused():
    with pytest.raises(ConfigurationError, match=r"got 0 winners$"):
        probe_writes_once(NobodyWins(), name="bucket b")


def test_a_store_that_keeps_other_bytes_is_refused():
    with pytest.raises(ConfigurationError, match=r"^bucket b must keep the bytes of the winning"):
        probe_writes_once(ForgetsTheWinner(), name="bucket b")


def test_a_refused_store_is_left_clean():
    store = LastWriterWins()

    with pytest.raises(ConfigurationError):
        probe_writes_once(store, name="bucket b")

    assert list(store.keys("")) == []
