"""The open jobs in the order in which they are served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.bootstrap import Runtime
from app.domain.scheduling.line import Shares, aged_level, in_order
from app.domain.spec import Priority
from app.entries import Entry
from app.outcomes import settle
from app.scheduling.job import OpenJob

_LEVELS = {priority.level: priority for priority in Priority}


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds that only grow, and the time of day."""

    monotonic: Callable[[], float]
    time: Callable[[], float]


class Line:
    """Follows the store's line of jobs.

    *is_adopting*: whether all of its jobs are taken, or only those that are told.
    """

    def __init__(self, runtime: Runtime, clock: Clock, *, is_adopting: bool) -> None:
        self._runtime = runtime
        self._clock = clock
        self.is_adopting = is_adopting
        self._shares = Shares(runtime.settings.tenants)
        self._jobs: dict[str, OpenJob] = {}
        self._unplanned: dict[str, float] = {}
        self._told: set[str] = set()

    def __iter__(self) -> Iterator[OpenJob]:
        return iter(list(self._jobs.values()))

    def get(self, job_id: str) -> OpenJob | None:
        return self._jobs.get(job_id)

    def tell(self, job_id: str) -> None:
        """Take this job from now on, whether or not all are taken."""
        self._told.add(job_id)

    def read(self) -> list[Entry]:
        """Follow the line: new jobs, paused ones, other priorities, those that left.

        The entries of jobs that nobody has planned yet.
        """
        entries = {
            entry.job_id: entry
            for entry in self._runtime.entries.all()
            if self.is_adopting or entry.job_id in self._told
        }
        for job_id in [*self._jobs, *self._unplanned]:
            if job_id not in entries:
                self.drop(job_id)
        for job_id, entry in entries.items():
            if job_id in self._jobs:
                self._jobs[job_id].entry = entry
            else:
                self._open(entry)
        return [entries[job_id] for job_id in self._unplanned]

    def unplanned_s(self, job_id: str) -> float:
        """How long the job has been waiting for its plan since it was seen or sent again."""
        return self._clock.monotonic() - self._unplanned[job_id]

    def sent_again(self, job_id: str) -> None:
        self._unplanned[job_id] = self._clock.monotonic()

    def audit(self) -> None:
        """Read one job's blobs anew: what was not heard is found, and what was lost."""
        if not self._jobs:
            return
        job_id = next(iter(self._jobs))
        job = self._jobs.pop(job_id)
        self._jobs[job_id] = job  # the last in turn now
        if settle(self._runtime, job_id):
            self.drop(job_id)
        else:
            job.load(self._runtime.store, self._clock.monotonic())

    def drop(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)
        self._unplanned.pop(job_id, None)

    def forget(self) -> None:
        """Know no job; all are found again in the store."""
        self._jobs.clear()
        self._unplanned.clear()

    def abandon(self) -> None:
        """Take the jobs that were told out of the store's line; planned ones can be resumed."""
        for job_id in self._told:
            self._runtime.entries.close(job_id)
            ledger = self._runtime.ledger
            if ledger.has_request(job_id) and not ledger.has_plan(job_id):
                ledger.withdraw(job_id)

    def in_order(self) -> list[OpenJob]:
        """Jobs with units to send, the next one first."""
        ready = {
            job_id: job
            for job_id, job in self._jobs.items()
            if job.ready_units and not job.entry.is_paused
        }
        self._shares.activate({job.entry.tenant for job in ready.values()})
        waiting = [job.waiting for job in ready.values()]
        ageing_s = self._runtime.settings.ageing_s
        ordered = in_order(waiting, self._shares, self._clock.time(), ageing_s)
        return [ready[job.job_id] for job in ordered]

    def all_in_order(self) -> list[OpenJob]:
        """Every open job: those whose units are all on their way, those in line, paused ones."""
        in_line = self.in_order()
        known = {job.entry.job_id for job in in_line}
        others = [job for job_id, job in self._jobs.items() if job_id not in known]
        served = [job for job in others if not job.entry.is_paused]
        return [*served, *in_line, *(job for job in others if job.entry.is_paused)]

    def level(self, job: OpenJob) -> Priority:
        """The job's class, risen with its age."""
        ageing_s = self._runtime.settings.ageing_s
        return _LEVELS[aged_level(job.waiting, self._clock.time(), ageing_s)]

    def charge(self, job: OpenJob, seconds: float) -> None:
        """Account work that was sent to the job's tenant."""
        self._shares.charge(job.entry.tenant, seconds)

    def _open(self, entry: Entry) -> None:
        ledger, now_s = self._runtime.ledger, self._clock.monotonic()
        if settle(self._runtime, entry.job_id):
            return
        if not ledger.has_plan(entry.job_id):
            self._unplanned.setdefault(entry.job_id, now_s)
            return
        self._unplanned.pop(entry.job_id, None)
        group = ledger.request(entry.job_id).group or self._runtime.settings.group
        job = OpenJob(entry, ledger.plan(entry.job_id), group)
        job.load(self._runtime.store, now_s)
        self._jobs[entry.job_id] = job
