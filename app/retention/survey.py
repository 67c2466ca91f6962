"""What is in a store: one listing, and what the records of jobs name."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from app.bootstrap import Runtime
from app.domain.retention import Folder, Standing, StoredJob, Survey
from app.domain.work import plan_key
from app.retention.records import Records
from app.schemas import read_plan
from app.storage.port import BlobStat

log = logging.getLogger(__name__)
_INPUT = re.compile(rb'"(inputs/[0-9a-f]{64})"')
_RESULT = re.compile(
    r"plan\.json|image-\d+/(?:quality\.json|thumbnail\.jpg|picture(?:\.|_files/).+)"
)
_NOTED_EVERY = 1000
Note = Callable[[int, int], None]
"""Is told how much is done, and of how much; 0 while nobody knows."""


@dataclass
class _Records:
    """What is kept for a job."""

    names: set[str] = field(default_factory=set)
    touched_s: float = 0.0
    size_bytes: int = 0

    def add(self, name: str, blob: BlobStat) -> None:
        self.names.add(name)
        self.touched_s = max(self.touched_s, blob.modified_s)
        self.size_bytes += blob.size_bytes


@dataclass
class _Contents:
    """What lies under one hash."""

    touched_s: float = 0.0
    result_bytes: int = 0
    other_bytes: int = 0
    others: int = 0

    def add(self, name: str, blob: BlobStat) -> None:
        self.touched_s = max(self.touched_s, blob.modified_s)
        if is_result(name):
            self.result_bytes += blob.size_bytes
        else:
            self.other_bytes += blob.size_bytes
            self.others += 1


@dataclass(frozen=True, slots=True)
class _Names:
    """What a plan names: its own folders, and those it starts from."""

    folders: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    is_complete: bool = True
    """Whether it was read; else only its hash is known, or not even that."""


@dataclass(frozen=True, slots=True)
class Used:
    """Folders and uploads that a job uses now."""

    names: frozenset[str]
    is_complete: bool
    """Whether these are all: its records could be read."""


class Surveyor:
    """Looks at a store; keeps what it read of plans and requests, which never change."""

    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.store
        self._records = Records(runtime.store)
        self._entries = runtime.entries
        self._plans: dict[str, _Names] = {}
        self._inputs: dict[str, frozenset[str]] = {}

    def look(self, note: Note = lambda *_: None) -> Survey:
        """Everything that is decided about."""
        self._records.begin()
        # The line comes first: a job that leaves it meanwhile counts as open once more.
        in_line = self.in_line()
        jobs: dict[str, _Records] = defaultdict(_Records)
        folders: dict[str, _Contents] = defaultdict(_Contents)
        inputs: dict[str, tuple[float, int]] = {}
        marks: dict[str, float] = {}
        for number, blob in enumerate(self._store.stat(""), start=1):
            match blob.key.split("/", maxsplit=2):
                case ["plans", name, rest]:
                    folders[name].add(rest, blob)
                case ["runs" | "attempts", name, rest]:
                    folders[name].add("", blob)
                case ["jobs", job_id, rest]:
                    jobs[job_id].add(rest, blob)
                case ["dead", job_id, rest]:
                    jobs[job_id].add("", blob)
                case ["inputs", _]:
                    inputs[blob.key] = blob.modified_s, blob.size_bytes
                case ["withdrawn" | "cleaning", *_]:
                    marks[blob.key] = blob.modified_s
            if number % _NOTED_EVERY == 0:
                note(number, 0)
        return Survey(
            [self._job(job_id, found, in_line) for job_id, found in sorted(jobs.items())],
            [_folder(name, found) for name, found in sorted(folders.items())],
            inputs,
            marks,
        )

    def in_line(self) -> set[str]:
        """Jobs that somebody works for, or will."""
        return {entry.job_id for entry in self._entries.all()}

    def job_ids(self) -> set[str]:
        return {key.split("/")[1] for key in self._store.keys("jobs/")}

    def used_by(self, job_id: str) -> Used:
        """Folders and uploads that a job uses now."""
        names, inputs = self._names_of(job_id), self._inputs_of(job_id)
        is_complete = names.is_complete and inputs is not None
        return Used(names.folders | names.reads | (inputs or frozenset()), is_complete)

    def _job(self, job_id: str, found: _Records, in_line: set[str]) -> StoredJob:
        names = self._names_of(job_id) if "plan.json" in found.names else _Names()
        inputs = self._inputs_of(job_id)
        standing = Standing.SUCCEEDED if "result.json" in found.names else Standing.ENDED
        standing = Standing.OPEN if job_id in in_line else standing
        # A closed job's pictures lie under the hash; of the rest nothing is missed at its age.
        is_known = names.is_complete or (standing is not Standing.OPEN and bool(names.folders))
        return StoredJob(
            job_id,
            standing,
            names.folders,
            inputs or frozenset(),
            found.touched_s,
            found.size_bytes,
            names.reads,
            is_complete=is_known and inputs is not None,
        )

    def _names_of(self, job_id: str) -> _Names:
        """What the job's plan names; its result tells which that is where its record is damaged."""
        record = f"jobs/{job_id}/plan.json"
        plan_hash = self._records.plan_hash(record)
        if plan_hash is None and self._records.is_unread(record):
            plan_hash = self._records.plan_hash(f"jobs/{job_id}/result.json")
        if plan_hash is None:
            return _Names(is_complete=not self._records.is_unread(record))
        return self._names_in(plan_hash)

    def _names_in(self, plan_hash: str) -> _Names:
        if plan_hash in self._plans:
            return self._plans[plan_hash]
        key = plan_key(plan_hash)
        data = self._records.read(key)
        if data is None:
            is_gone = not self._records.is_unread(key)
            return _Names(frozenset({plan_hash}), is_complete=is_gone)
        names = self._planned(plan_hash, data)
        if names.is_complete:
            self._plans[plan_hash] = names
        return names

    def _planned(self, plan_hash: str, data: bytes) -> _Names:
        try:
            plan = read_plan(data)
        except ValueError as err:  # of another version, for good
            log.warning("plan.unreadable", extra={"plan_hash": plan_hash, "reason": str(err)})
            self._plans[plan_hash] = _Names(frozenset({plan_hash}), is_complete=False)
            return self._plans[plan_hash]
        again = plan.spec.rerender
        before = self._names_in(again.plan_hash) if again else _Names()
        own = frozenset({plan_hash, plan.series})
        return _Names(own, before.folders, before.is_complete)

    def _inputs_of(self, job_id: str) -> frozenset[str] | None:
        """The uploads that its request names; ``None`` where nobody can tell."""
        if job_id not in self._inputs:
            key = f"jobs/{job_id}/request.json"
            data = self._records.read(key)
            if data is None:
                return None if self._records.is_unread(key) else frozenset()
            self._inputs[job_id] = frozenset(key.decode() for key in _INPUT.findall(data))
        return self._inputs[job_id]


def is_result(name: str) -> bool:
    """Whether a blob, called *name* below its hash, is kept as long as its pictures are."""
    return _RESULT.fullmatch(name) is not None


def _folder(name: str, found: _Contents) -> Folder:
    return Folder(name, found.touched_s, found.result_bytes, found.other_bytes, found.others)
