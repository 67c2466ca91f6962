"""The board of a process that is its own installation: embedded mode, and tests."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition

from app.live.port import KEPT_EVENTS, Record


@dataclass(frozen=True, slots=True)
class _Shown:
    text: str
    since_s: float
    until_s: float


class MemoryBoard:
    """A ``LiveBoard`` that the threads of one process see.

    Everything is kept as JSON, as Redis does: a reader never shares an object with a writer.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, kept: int = KEPT_EVENTS
    ) -> None:
        self._clock = clock
        self._events: deque[str] = deque(maxlen=kept)
        self._topics: dict[str, dict[str, _Shown]] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._changed = Condition()

    def tell(self, event: Mapping[str, object]) -> None:
        with self._changed:
            self._events.append(json.dumps(event))
            self._changed.notify_all()

    def listen(self, timeout_s: float) -> list[Record]:
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout=max(timeout_s, 0.0))
            found = [json.loads(text) for text in self._events]
            self._events.clear()
            return found

    def show(self, topic: str, name: str, record: Mapping[str, object], *, ttl_s: float) -> None:
        text, now_s = json.dumps(record), self._clock()
        with self._changed:
            self._topics.setdefault(topic, {})[name] = _Shown(text, now_s, now_s + ttl_s)

    def shown(self, topic: str) -> dict[str, Record]:
        with self._changed:
            now_s = self._clock()
            records = self._topics.get(topic, {})
            for name in [name for name, entry in records.items() if entry.until_s <= now_s]:
                del records[name]
            return {
                name: json.loads(entry.text) | {"age_s": now_s - entry.since_s}
                for name, entry in records.items()
            }

    def hide(self, topic: str, name: str) -> None:
        with self._changed:
            self._topics.get(topic, {}).pop(name, None)

    def lease(self, name: str, owner: str, *, ttl_s: float) -> bool:
        with self._changed:
            now_s = self._clock()
            holder, until_s = self._leases.get(name, (owner, now_s))
            if holder != owner and until_s > now_s:
                return False
            self._leases[name] = owner, now_s + ttl_s
            return True

    def release(self, name: str, owner: str) -> None:
        with self._changed:
            if self._leases.get(name, ("", 0.0))[0] == owner:
                del self._leases[name]
