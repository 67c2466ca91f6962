"""The line of open jobs: empty blobs whose names carry all that scheduling knows about a job.

One listing of ``queue/`` tells everything, and survives the loss of broker, Redis and workers.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from app.domain.spec import Priority
from app.schemas import RenderRequest
from app.storage.port import BlobStore

_ROOT = "queue/"
_ACCEPTED = "accepted"
_REOPENING = "reopening"
_TOKEN = "."
KEEPER = f"{_ROOT}_kept"
"""No job's id. Servers that have folders, as SeaweedFS does, take an emptied one away a moment
later, and could take with it the job that was put in line meanwhile."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One open job as it stands in line."""

    job_id: str
    accepted_ms: int
    priority: Priority
    tenant: str
    deadline_ms: int | None = None
    is_paused: bool = False
    is_reopening: bool = False
    """Its end is to be taken back, as ``app.outcomes.reopen`` does."""
    change: str = ""
    """Names the last change of its class, be it to the one it had."""
    token: str = field(default="", compare=False)
    """Tells apart who put the job in line: an answer of the store may get lost."""

    @property
    def key(self) -> str:
        deadline = str(self.deadline_ms or "none")
        last = f"{deadline}{_TOKEN}{self.token}" if self.token else deadline
        place = f"{self.accepted_ms}/{self.priority}/{self.tenant}/{last}"
        return f"{_ROOT}{self.job_id}/{_REOPENING if self.is_reopening else _ACCEPTED}/{place}"

    def anew(self) -> Entry:
        """The same place under a name that nobody has seen yet."""
        return replace(self, token=secrets.token_hex(8))


def entry_of(job_id: str, request: RenderRequest) -> Entry:
    """The place in line of a job that is ordered now."""
    now_ms = round(time.time() * 1000)
    deadline_ms = None
    if request.deadline_s is not None:
        deadline_ms = now_ms + round(request.deadline_s * 1000)
    return Entry(job_id, now_ms, Priority(request.priority), request.tenant, deadline_ms).anew()


class Entries:
    """Reads and changes the line."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def add(self, entry: Entry) -> Entry:
        """Put the job in line, and return the entry as it stands there; the first one counts.

        Each order has an entry of its own: whoever takes one out takes nobody else's.
        """
        first = self.find(entry.job_id)
        if first is not None:  # the job keeps its place, whatever this client's clock says
            entry = replace(entry, accepted_ms=max(entry.accepted_ms, first.accepted_ms + 1))
        self._store.put(entry.key, b"")
        return entry

    def take_back(self, entry: Entry) -> None:
        """Take *entry*, wherever it was put, out of the line, and no other."""
        self.remove(
            [key for key in self.keys(entry.job_id) if key.endswith(f"{_TOKEN}{entry.token}")]
        )

    def keys(self, job_id: str) -> list[str]:
        """What stands in line for the job now."""
        return list(self._store.keys(f"{_ROOT}{job_id}/"))

    def remove(self, keys: Iterable[str]) -> None:
        """Take *keys* out of the line, which never becomes an empty folder."""
        self._store.put(KEEPER, b"")
        for key in keys:
            self._store.delete(key)

    def tidy(self, job_id: str) -> None:
        """Remove what else was said of a job that is no longer in line."""
        keys = self.keys(job_id)
        if _entry(keys) is None:
            self.remove(keys)

    def close(self, job_id: str) -> None:
        """Take the job out of the line."""
        self.remove(self.keys(job_id))

    def end_reopening(self, job_id: str) -> None:
        """Note that the job's end is gone; it is in line without being reopened, too."""
        self.remove(list(self._store.keys(f"{_ROOT}{job_id}/{_REOPENING}/")))

    def pause(self, job_id: str) -> None:
        """Keep the job in line and send none of its work."""
        self._store.put(f"{_ROOT}{job_id}/paused", b"")

    def unpause(self, job_id: str) -> None:
        self._store.delete(f"{_ROOT}{job_id}/paused")

    def prioritise(self, job_id: str, priority: Priority, now_ms: int) -> None:
        """Change the class of the job's units that are not yet sent; the latest change counts."""
        self._store.put(f"{_ROOT}{job_id}/priority/{now_ms}/{priority}", b"")

    def find(self, job_id: str) -> Entry | None:
        return _entry(self.keys(job_id))

    def all(self) -> list[Entry]:
        """Every open job, in order of acceptance."""
        jobs: dict[str, list[str]] = defaultdict(list)
        for key in self._store.keys(_ROOT):
            jobs[key.split("/")[1]].append(key)
        entries = [entry for keys in jobs.values() if (entry := _entry(keys))]
        return sorted(entries, key=lambda entry: (entry.accepted_ms, entry.job_id))


def is_reopening(keys: Iterable[str]) -> bool:
    """Whether *keys*, all of one job, tell that its end is to be taken back."""
    return any(key.split("/")[2] == _REOPENING for key in keys)


def _entry(keys: Sequence[str]) -> Entry | None:
    """The entry that *keys*, sorted and all of one job, tell; ``None`` when it is not in line."""
    entry, is_paused, priority, change = None, False, None, ""
    for key in keys:
        match key.split("/"):
            case [_, job_id, "accepted" | "reopening", accepted_ms, level, tenant, last]:
                deadline, _, _ = last.partition(_TOKEN)
                entry = entry or _accepted(job_id, accepted_ms, level, tenant, deadline)
            case [_, _, "paused"]:
                is_paused = True
            case [_, _, "priority", changed_ms, level] if level in set(Priority):
                priority, change = Priority(level), f"{changed_ms}/{level}"
    if entry is None:
        return None
    return replace(
        entry,
        is_paused=is_paused,
        is_reopening=is_reopening(keys),
        priority=priority or entry.priority,
        change=change,
    )


def _accepted(
    job_id: str, accepted_ms: str, level: str, tenant: str, deadline: str
) -> Entry | None:
    try:
        deadline_ms = None if deadline == "none" else int(deadline)
        return Entry(job_id, int(accepted_ms), Priority(level), tenant, deadline_ms)
    except ValueError:  # not written by us, and no reason to serve nobody
        return None
