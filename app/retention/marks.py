"""Marks on folders whose pictures are being removed: they are nobody's result meanwhile."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from app.cache import MARK_S, mark_key
from app.storage.port import BlobStore


class Marks:
    """The marks of one cleaner; one that dies leaves some behind, which count for a while."""

    def __init__(self, store: BlobStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._owner = secrets.token_hex(4)
        self._held: dict[str, tuple[float, str]] = {}

    def put(self, names: Iterable[str]) -> None:
        """Mark folders; again, it makes their marks younger."""
        now_s = self._clock()
        for name in names:
            before = self._held.get(name)
            key = mark_key(name, now_s, self._owner)
            self._store.put(key, b"")
            self._held[name] = now_s, key
            if before is not None and before[1] != key:
                self._store.delete(before[1])

    def renew(self) -> None:
        """Make marks younger that would soon count no more."""
        now_s = self._clock()
        self.put([name for name, (put_s, _) in self._held.items() if now_s - put_s > MARK_S / 4])

    def drop(self, name: str) -> None:
        """Take a mark away; nothing happens when there is none."""
        _, key = self._held.pop(name, (0.0, ""))
        if key:
            self._store.delete(key)

    def drop_all(self) -> None:
        for name in list(self._held):
            self.drop(name)
