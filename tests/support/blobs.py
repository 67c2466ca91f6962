"""What a job has stored, held against another job's."""

from __future__ import annotations

import numpy as np

from app.pictures.codecs import decode_array
from app.storage.memory import MemoryStore
from app.storage.port import BlobStore

_NPY = b"\x93NUMPY"


def assert_same_blob(key: str, one: bytes, other: bytes, atol: float = 0.0) -> None:
    """Arrays may differ by *atol*, in their own units; pixels, figures and files by no bit."""
    if one == other:
        return
    assert atol > 0, f"{key} differs"
    assert one.startswith(_NPY), f"{key} differs"
    np.testing.assert_allclose(
        decode_array(one), decode_array(other), rtol=0, atol=atol, err_msg=key
    )


def assert_same_blobs(one: BlobStore, other: BlobStore, atol: float = 0.0) -> None:
    """The same keys, and under each of them the same; see ``assert_same_blob``."""
    keys = list(one.keys(""))
    assert keys == list(other.keys(""))
    for key in keys:
        assert_same_blob(key, one.get(key), other.get(key), atol)


def kind(key: str) -> str:
    """What a blob is: ``bands-1``, ``head`` or ``core-00002``; all tiles of a phase are one."""
    _, _, *names = key.split("/")
    return names[0] if len(names) == 1 else names[1]


class ComparingStore(MemoryStore):
    """Takes a blob again only if it is the same: writing once would hide that a repeat differs."""

    def __init__(self, atol: float = 0.0) -> None:
        super().__init__()
        self.repeats = 0
        self._atol = atol

    def put(self, key: str, data: bytes) -> bool:
        is_first = super().put(key, data)
        if not is_first:
            self.repeats += 1
            assert_same_blob(key, data, self.get(key), self._atol)
        return is_first


class CrashError(Exception):
    """The worker's process has ended."""


class CrashingStore(ComparingStore):
    """Ends the first write of every kind of blob before it is done, the second one after it."""

    def __init__(self, atol: float = 0.0) -> None:
        super().__init__(atol)
        self.unwritten: set[str] = set()
        self.unacknowledged: set[str] = set()

    def put(self, key: str, data: bytes) -> bool:
        if (name := kind(key)) not in self.unwritten:
            self.unwritten.add(name)
            raise CrashError
        is_first = super().put(key, data)
        if name not in self.unacknowledged:
            self.unacknowledged.add(name)
            raise CrashError
        return is_first
