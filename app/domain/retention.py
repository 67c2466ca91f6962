"""What may go from the store: a function of ages, sizes and states, and of nothing else.

A *folder* is what lies under one hash: a plan with its pictures, or what the pictures of a series
are made from. It is used by jobs. What an open job uses is never touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """A job, as far as it decides what is kept for it."""

    OPEN = "open"
    """It stands in line: somebody works for it, or will."""
    SUCCEEDED = "succeeded"
    ENDED = "ended"
    """Failed, cancelled, or left without anybody who works for it; it can be resumed."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job's records, and the hashes and uploads they name."""

    job_id: str
    standing: Standing
    folders: frozenset[str]
    inputs: frozenset[str]
    touched_s: float
    """When the newest of its records was written."""
    size_bytes: int
    reads: frozenset[str] = frozenset()
    """Folders of others that it starts from."""
    is_complete: bool = True
    """Whether it names all it uses. Where a record could not be read, what no job names may be
    its."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies under one hash."""

    name: str
    touched_s: float
    """When its newest blob was written."""
    result_bytes: int = 0
    """Plan, pictures, and what is told about them."""
    other_bytes: int = 0
    """What pictures were made from, and who made it."""
    others: int = 0
    """How many blobs that is."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a store; the ages of uploads and marks by key."""

    jobs: Sequence[StoredJob]
    folders: Sequence[Folder]
    inputs: Mapping[str, tuple[float, int]]
    """When each was written, and its bytes."""
    marks: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """How long what is kept."""

    intermediates_ttl_s: float
    """0: until the job has ended."""
    results_ttl_s: float
    """0: for ever."""
    max_store_bytes: int
    """0: no limit."""
    marks_ttl_s: float = 86400.0
    """Of withdrawn orders, and of uploads that no order names."""


class What(StrEnum):
    """What a removal removes."""

    INTERMEDIATES = "intermediates"
    """Of a folder: everything but plan and pictures."""
    FOLDER = "folder"
    JOB = "job"
    INPUT = "input"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that may go."""

    what: What
    name: str
    size_bytes: int
    jobs: tuple[str, ...] = ()
    """Jobs that a removed folder was the plan of: they are unplanned then."""


def removals(survey: Survey, rules: RetentionRules, now_s: float) -> list[Removal]:
    """What may go, in the order in which it should."""
    choice = _Choice(survey)
    choice.expire(rules, now_s)
    if rules.max_store_bytes:
        choice.shrink(rules.max_store_bytes)
    return [*choice.told(), *_loose_ends(survey, choice.jobs_left(), rules, now_s)]


class _Choice:
    """What has been chosen to go so far."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._users: dict[str, list[StoredJob]] = defaultdict(list)
        for job in survey.jobs:
            for name in job.folders:
                self._users[name].append(job)
        open_jobs = [job for job in survey.jobs if job.standing is Standing.OPEN]
        self._used = {name for job in open_jobs for name in job.folders | job.reads}
        self._is_in_doubt = _is_in_doubt(survey)
        self._free = {folder.name: folder for folder in survey.folders if self._may_go(folder)}
        self._bytes_left = _total_bytes(survey)
        self._gone_jobs: dict[str, StoredJob] = {}
        self._gone: dict[str, Removal] = {}

    def expire(self, rules: RetentionRules, now_s: float) -> None:
        """Choose what is too old."""
        if rules.results_ttl_s:
            for job in self._ended():
                if now_s - job.touched_s > rules.results_ttl_s:
                    self._forget(job)
        for folder in self._free.values():
            if now_s - self._last_use_s(folder) > rules.intermediates_ttl_s:
                self._empty(folder)

    def shrink(self, limit_bytes: int) -> None:
        """Choose more until the rest fits: what can be made again first, then the oldest results.

        Among equals the longest unused goes first.
        """
        for folder in sorted(self._free.values(), key=self._last_use_s):
            if self._bytes_left <= limit_bytes:
                return
            self._empty(folder)
        for job in self._ended():
            if self._bytes_left <= limit_bytes:
                return
            self._forget(job)

    def jobs_left(self) -> list[StoredJob]:
        return [job for job in self._survey.jobs if job.job_id not in self._gone_jobs]

    def told(self) -> Iterator[Removal]:
        """Folders before the records that lead to them."""
        yield from self._gone.values()
        for job in self._gone_jobs.values():
            yield Removal(What.JOB, job.job_id, job.size_bytes)

    def _may_go(self, folder: Folder) -> bool:
        is_doubtful = self._is_in_doubt and folder.name not in self._users
        return folder.name not in self._used and not is_doubtful

    def _ended(self) -> list[StoredJob]:
        """Jobs that are not open and not gone, the one that ended first first."""
        jobs = [job for job in self.jobs_left() if job.standing is not Standing.OPEN]
        return sorted(jobs, key=lambda job: (job.touched_s, job.job_id))

    def _forget(self, job: StoredJob) -> None:
        """Let a job go, and what only jobs that are gone have used."""
        self._gone_jobs[job.job_id] = job
        self._bytes_left -= job.size_bytes
        for name in sorted(job.folders & self._free.keys()):
            if not self._users_left(self._free[name]):
                self._remove(self._free[name])

    def _empty(self, folder: Folder) -> None:
        """Let everything go that no finished picture needs."""
        users = self._users_left(folder)
        if any(job.standing is Standing.SUCCEEDED for job in users):
            if folder.others and folder.name not in self._gone:
                self._note(Removal(What.INTERMEDIATES, folder.name, folder.other_bytes))
        else:
            self._remove(folder)

    def _remove(self, folder: Folder) -> None:
        has_plan = folder.result_bytes > 0
        users = tuple(job.job_id for job in self._users_left(folder) if has_plan)
        size_bytes = folder.result_bytes + folder.other_bytes
        self._note(Removal(What.FOLDER, folder.name, size_bytes, users))

    def _note(self, removal: Removal) -> None:
        if (earlier := self._gone.get(removal.name)) is not None:  # less of it was to go
            self._bytes_left += earlier.size_bytes
        self._gone[removal.name] = removal
        self._bytes_left -= removal.size_bytes

    def _users_left(self, folder: Folder) -> list[StoredJob]:
        users = self._users.get(folder.name, [])
        return [job for job in users if job.job_id not in self._gone_jobs]

    def _last_use_s(self, folder: Folder) -> float:
        users = self._users.get(folder.name, [])
        return max([folder.touched_s, *(job.touched_s for job in users)])


def _is_in_doubt(survey: Survey) -> bool:
    """Whether what no job names may be used all the same."""
    return any(not job.is_complete for job in survey.jobs)


def _total_bytes(survey: Survey) -> int:
    sizes = [folder.result_bytes + folder.other_bytes for folder in survey.folders]
    sizes += [job.size_bytes for job in survey.jobs]
    sizes += [size_bytes for _, size_bytes in survey.inputs.values()]
    return sum(sizes)


def _loose_ends(
    survey: Survey, jobs: Collection[StoredJob], rules: RetentionRules, now_s: float
) -> Iterator[Removal]:
    """Uploads that no job names, and marks that have served."""
    named, is_doubtful = {key for job in jobs for key in job.inputs}, _is_in_doubt(survey)
    for key, (written_s, size_bytes) in survey.inputs.items():
        if not is_doubtful and key not in named and now_s - written_s > rules.marks_ttl_s:
            yield Removal(What.INPUT, key, size_bytes)
    for key, written_s in survey.marks.items():
        if now_s - written_s > rules.marks_ttl_s:
            yield Removal(What.MARK, key, 0)
