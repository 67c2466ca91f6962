"""What happened, one JSON object a line; every process appends to the same file."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def stamp() -> dict[str, float]:
    """Now: ``t`` for people, and ``at_s`` on the clock that never goes back.

    That one is the same for all processes of a machine. A worker's ``t`` may be an hour off, for
    wrong clocks are among the faults.
    """
    return {"t": round(time.time(), 3), "at_s": time.monotonic()}


class History:
    """An append-only file of events; a line is written at once and whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.touch()

    def add(self, event: str, **fields: object) -> None:
        line = json.dumps({**stamp(), "event": event} | fields)
        with self._lock, self.path.open("a") as file:
            file.write(line + "\n")

    def events(self, *kinds: str) -> list[Event]:
        """Events of *kinds*, or all, in order of their time."""
        found = [event for event in read(self.path) if not kinds or event["event"] in kinds]
        return sorted(found, key=lambda event: event["t"])


def read(path: Path) -> Iterator[Event]:
    """The events in *path*; the last line of a process that was killed may be cut short."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
