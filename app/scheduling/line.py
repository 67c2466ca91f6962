"""The open jobs in the order in which they are served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.bootstrap import Runtime
from app.domain.errors import CorruptBlobError, NotFoundError
from app.domain.plan import RenderPlan
from app.domain.scheduling.line import Shares, Waiting, aged_level, in_order
from app.domain.spec import Priority
from app.entries import KEEPER, Entry, is_reopening
from app.live.port import Record
from app.outcomes import give_up, reopen, settle
from app.scheduling.ageing import Waits
from app.scheduling.isolation import AWAY, DAMAGED, Isolation
from app.scheduling.job import Flight, OpenJob

log = logging.getLogger(__name__)
_UNPLANNED_LOOKS = 8
_NEW_S = 30.0
"""An older job may have messages on their way that another dispatcher has sent."""
_MOST_ENDED = 100
"""Jobs of which runs are still heard when they are over."""
_LEVELS = {priority.level: priority for priority in Priority}


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds that only grow, and the time of day."""

    monotonic: Callable[[], float]
    time: Callable[[], float]


class Line:
    """Follows the store's line of jobs.

    *is_adopting*: whether all of its jobs are taken, or only those that are told. *catch_up* does
    for a job what was left to be done when the store refused its records.
    """

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        *,
        is_adopting: bool,
        catch_up: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self.is_adopting = is_adopting
        self._catch_up = catch_up
        self._waits = Waits(clock.monotonic)
        self._isolation = Isolation(clock.monotonic, self._ask_store)
        self._shares: dict[str, Shares] = {}
        self._jobs: dict[str, OpenJob] = {}
        self._ended: dict[str, RenderPlan] = {}
        self._unplanned: dict[str, float] = {}
        self._told: set[str] = set()
        self._news: set[str] = set()

    def __iter__(self) -> Iterator[OpenJob]:
        return iter(list(self._jobs.values()))

    def get(self, job_id: str) -> OpenJob | None:
        return self._jobs.get(job_id)

    def tell(self, job_id: str) -> None:
        """Take this job from now on, whether or not all are taken, and look at it next."""
        self._told.add(job_id)
        self._news.add(job_id)

    def begin_round(self) -> None:
        self._isolation.begin_round()

    def each(self, job_ids: Iterable[str], step: Callable[[str], None]) -> None:
        """Do *step* for each of the jobs, but of those whose records the store refuses."""
        self._isolation.each(job_ids, step, self.fail)

    def end(self, job_id: str, error: Exception) -> None:
        """End a job that nobody can go on with, unless the store refuses its records now."""
        self.each([job_id], lambda _: self.fail(job_id, error))

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
        self._waits.follow(entries)
        self._isolation.follow(entries)
        reopening = [job_id for job_id, entry in entries.items() if entry.is_reopening]
        self.each(reopening, lambda job_id: self._reopen(entries[job_id]))
        looks, unopened = self._looks(), list[str]()
        for job_id, entry in entries.items():
            if job_id in self._jobs:
                self._jobs[job_id].entry = entry
            elif job_id in looks or job_id not in self._unplanned:
                unopened.append(job_id)
        self.each(unopened, lambda job_id: self._open(entries[job_id]))
        self._isolation.try_again(lambda job_id: self._recover(entries[job_id]), self.fail)
        return [entries[job_id] for job_id in self._unplanned]

    def _looks(self) -> set[str]:
        """Jobs without plan to look at now: those that were told, and a few of the others in turn.

        A thousand that wait for their plans would keep the store busy otherwise.
        """
        turn = list(self._unplanned)[:_UNPLANNED_LOOKS]
        for job_id in turn:
            self._unplanned[job_id] = self._unplanned.pop(job_id)
        looks, self._news = self._news.union(turn), set()
        return looks

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
        self.each([job_id], lambda _: self._audit(job.entry))

    def ended(self, job_id: str) -> RenderPlan | None:
        """The plan of one of the jobs that left the line last."""
        return self._ended.get(job_id)

    def drop(self, job_id: str) -> None:
        if (job := self._jobs.pop(job_id, None)) is not None:
            self._ended.pop(job_id, None)  # resumed, and the last one again
            self._ended[job_id] = job.plan
            if len(self._ended) > _MOST_ENDED:
                del self._ended[next(iter(self._ended))]
        self._unplanned.pop(job_id, None)
        if self.is_adopting:
            self._told.discard(job_id)

    def forget(self) -> None:
        """Know no job; all are found again in the store."""
        self._jobs.clear()
        self._unplanned.clear()
        self._waits.clear()
        self._isolation.follow(())

    def abandon(self) -> None:
        """Take the jobs that were told out of the store's line; planned ones can be resumed."""
        for job_id in self._told:
            self._runtime.entries.close(job_id)
            ledger = self._runtime.ledger
            if ledger.has_request(job_id) and not ledger.has_plan(job_id):
                ledger.forget(job_id)

    def in_order(
        self, jobs: Sequence[OpenJob], pool: str, beside: Iterable[OpenJob] = ()
    ) -> list[OpenJob]:
        """*jobs*, the one to be served next first.

        They and those *beside* them, which have to wait now, are all that have units for *pool*.
        """
        self._shares_of(pool).activate({job.entry.tenant for job in [*jobs, *beside]})
        return self._ordered(jobs, pool)

    def standing(self, pool: str, jobs: Sequence[OpenJob]) -> list[OpenJob]:
        """*jobs* as people are shown them: those in work, those that wait, paused ones last."""
        return sorted(
            self._ordered(jobs, pool), key=lambda job: (job.entry.is_paused, job.ready_units > 0)
        )

    def level(self, job: OpenJob) -> Priority:
        """The job's class, risen with its wait."""
        return _LEVELS[aged_level(self._waiting(job), self._runtime.settings.ageing_s)]

    def serve(self, job: OpenJob) -> None:
        """Note that a unit of the job was sent, or is rendered now: it waits anew."""
        self._waits.begin(job.entry.job_id)

    def spend_rise(self, level: Priority, job: OpenJob, jobs: Sequence[OpenJob]) -> None:
        """Let all of *jobs* of its tenant and class wait anew once *job* has used its *level*.

        Otherwise a tenant's thousand low jobs, each with a slice to come, would keep back a new
        high one, and the same work in one job would not.
        """
        if level is self.level(job):  # nothing was sent, or nothing of a higher level
            return
        for other in jobs:
            place = other.entry.tenant, other.entry.priority
            if place == (job.entry.tenant, job.entry.priority):
                self.serve(other)

    def charge(self, job: OpenJob, flight: Flight) -> None:
        """Account a unit that was sent to the job's tenant, as it is predicted."""
        flight.charged = flight.pool, flight.seconds
        self._account(job, *flight.charged)

    def settle_charge(self, job: OpenJob, flight: Flight, event: Record) -> None:
        """Account what a unit of *job* took, in place of what was predicted when it was sent.

        A tenant's first units are predicted badly, and one of many jobs sends many first units.
        """
        pool, charged_s = flight.charged
        seconds = event.get("seconds")
        took_s = float(seconds) if isinstance(seconds, int | float) else charged_s
        self._account(job, pool or flight.pool, took_s - charged_s)

    def refund(self, job: OpenJob, flight: Flight) -> None:
        """Take back what a unit was charged that has to be sent anew."""
        pool, charged_s = flight.charged
        self._account(job, pool, -charged_s)

    def _account(self, job: OpenJob, pool: str, seconds: float) -> None:
        self._shares_of(pool).charge(job.entry.tenant, seconds)

    def fail(self, job_id: str, error: Exception) -> None:
        """End a job that nobody can go on with; the others are served."""
        log.error("job.unserved", extra={"job_id": job_id, "reason": str(error)})
        reason = f"job cannot be served: {error}"
        self._runtime.ledger.fail(job_id, reason)
        try:
            settle(self._runtime, job_id)
        except AWAY:
            raise
        except DAMAGED as err:
            if isinstance(err, CorruptBlobError):  # resumed, it is made anew of its pictures
                self._runtime.ledger.discard_result(job_id)
            give_up(self._runtime, job_id, reason)
        self.drop(job_id)

    def _ordered(self, jobs: Sequence[OpenJob], pool: str) -> list[OpenJob]:
        by_id = {job.entry.job_id: job for job in jobs}
        waiting = [self._waiting(job) for job in jobs]
        ordered = in_order(waiting, self._shares_of(pool), self._runtime.settings.ageing_s)
        return [by_id[job.job_id] for job in ordered]

    def _waiting(self, job: OpenJob) -> Waiting:
        return job.waiting(self._waits.waited_s(job.entry.job_id))

    def _shares_of(self, pool: str) -> Shares:
        return self._shares.setdefault(pool, Shares(self._runtime.settings.tenants))

    def _audit(self, entry: Entry) -> None:
        job = self._jobs[entry.job_id]
        if settle(self._runtime, entry.job_id):
            self.drop(entry.job_id)
        else:
            job.load(self._runtime.store, self._clock.monotonic())

    def _recover(self, entry: Entry) -> None:
        """Do all that may have been refused, and read what a plan will be asked for with."""
        self._catch_up(entry.job_id)
        if entry.is_reopening:
            self._reopen(entry)
        if entry.job_id in self._jobs:
            self._audit(entry)
        else:
            self._open(entry)
        if entry.job_id in self._unplanned and self._runtime.ledger.has_request(entry.job_id):
            self._runtime.ledger.request(entry.job_id)

    def _ask_store(self) -> None:
        """Raises where the store answers nobody."""
        next(self._runtime.store.keys(KEEPER), None)

    def _reopen(self, entry: Entry) -> None:
        """Do what a client began that may have died over it; it may be done since it was listed."""
        if is_reopening(self._runtime.entries.keys(entry.job_id)):
            reopen(self._runtime, entry)

    def _open(self, entry: Entry) -> None:
        ledger, now_s = self._runtime.ledger, self._clock.monotonic()
        if settle(self._runtime, entry.job_id):
            self._unplanned.pop(entry.job_id, None)
            return
        plan = self._plan(entry.job_id)
        if plan is None:
            self._unplanned.setdefault(entry.job_id, now_s)
            return
        self._unplanned.pop(entry.job_id, None)
        group = ledger.request(entry.job_id).group or self._runtime.settings.group
        age_s = self._clock.time() - entry.accepted_ms / 1000
        job = OpenJob(entry, plan, group, is_new=age_s < _NEW_S)
        job.load(self._runtime.store, now_s)
        self._jobs[entry.job_id] = job

    def _plan(self, job_id: str) -> RenderPlan | None:
        """The job's plan, ``None`` when it has to be planned, for the first time or again."""
        ledger = self._runtime.ledger
        if not ledger.has_plan(job_id):
            return None
        try:
            return ledger.plan(job_id)
        except NotFoundError:
            if not ledger.has_lost_plan(job_id):
                raise
            ledger.unplan(job_id)
            return None
