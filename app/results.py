"""Celery results inside one process, for embedded mode."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from celery import Celery
from celery.backends.base import KeyValueStoreBackend


class EmbeddedBackend(KeyValueStoreBackend):
    """Results in a dictionary; chords counted by distinct member.

    Celery's own ``cache+memory`` reads the whole group back at every member (1000 members take
    5.4 s, and its store forgets beyond 5000 keys); ``file://`` polls once a second.
    State lives on the class because Celery keeps one backend per thread.
    """

    app: Celery
    """Set by Celery."""

    _values: ClassVar[dict[str, bytes]] = {}
    _sizes: ClassVar[dict[str, int]] = {}
    _returned: ClassVar[dict[str, set[str]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def get(self, key: str) -> bytes | None:
        return self._values.get(key)

    def mget(self, keys: list[str]) -> list[bytes | None]:
        return [self._values.get(key) for key in keys]

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    def delete(self, key: str) -> None:
        self._values.pop(key, None)

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Nothing to prepare: the size arrives with the last member."""

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Called before the last member is sent, so that no return can overtake it."""
        self._sizes[group_id] = chord_size

    def on_chord_part_return(self, request: Any, *_outcome: Any, **_options: Any) -> None:
        """Start the chord's body when the last distinct member has returned."""
        if not request.group or not request.chord:
            return
        with self._lock:
            returned = self._returned.setdefault(request.group, set())
            returned.add(request.id)
            if len(returned) != self._sizes.get(request.group):
                return
            del self._returned[request.group], self._sizes[request.group]
        self.app.signature(request.chord).apply_async()
