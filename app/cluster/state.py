"""What runs: the file by which ``down`` and a second ``up`` know what the first one started."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.cluster.process import Process, is_running
from app.cluster.service import write_private
from app.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Record:
    """One started process."""

    name: str
    process: Process
    tier: int
    """Ends before every process of a lower tier."""
    ports: dict[str, int]
    log: str
    grace_s: float

    @property
    def is_running(self) -> bool:
        return is_running(self.process)


@dataclass(slots=True)
class State:
    """The records of one cluster, by name in order of their start, and its ports."""

    records: dict[str, Record] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def running(self, name: str) -> bool:
        return name in self.records and self.records[name].is_running


def load(folder: Path) -> State:
    """The state in *folder*; an empty one when nothing was started.

    Raises ``ConfigurationError`` when the file is damaged: guessing could end other processes.
    """
    path = _path(folder)
    try:
        stored = json.loads(path.read_text())
        records = [
            Record(**{**record, "process": Process(**record["process"])})
            for record in stored["records"]
        ]
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigurationError(f"cluster state {path} must be readable JSON, got: {err}") from err
    return State({record.name: record for record in records}, stored["ports"])


def save(folder: Path, state: State) -> None:
    """Write *state* in one step; an empty one removes the file."""
    if not state.records:
        _path(folder).unlink(missing_ok=True)
        return
    stored = {"records": [asdict(record) for record in state.records.values()]}
    write_private(_path(folder), json.dumps({**stored, "ports": state.ports}, indent=1))


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one ``up`` or ``down`` at a time work on *folder*; the others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _path(folder: Path) -> Path:
    return folder / "state.json"
