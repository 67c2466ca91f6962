"""Keeps every pool's queue at a few seconds of work, and chooses whose work that is.

What lies in a broker's queue can be neither reordered nor paused nor shared fairly, so little is
put there. All a dispatcher knows can be read again from the store: it may die at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from app.bootstrap import Runtime
from app.domain.errors import NotFoundError, TransientError
from app.domain.scheduling.slices import room
from app.domain.work import Stage, Work
from app.entries import Entry
from app.live.port import Record
from app.nodes import NodeRecord, read_nodes
from app.outcomes import settle
from app.scheduling.board import show_schedule
from app.scheduling.forecast import Forecast
from app.scheduling.job import Flight, OpenJob
from app.scheduling.line import Clock, Line
from app.scheduling.overdue import Sight, late_units, lost_units
from app.scheduling.publishing import Publisher
from app.schemas import WorkMessage

log = logging.getLogger(__name__)

_LINE_PERIOD_S = 0.5
_AUDIT_PERIOD_S = 5.0
_BOARD_PERIOD_S = 1.0
_SAVE_PERIOD_S = 60.0
_PLAN_GRACE_S = 15.0
_CONTROL_GRACE_S = 30.0
"""A merge that nobody has asked for, or whose worker died, is asked for after this."""


class Dispatcher:
    """One round looks at everything once; ``run_round`` is called again and again."""

    def __init__(
        self, runtime: Runtime, publisher: Publisher, clock: Clock, *, is_adopting: bool = True
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._clock = clock
        self._line = Line(runtime, clock, is_adopting=is_adopting)
        self._forecast = Forecast(runtime.store)
        self._nodes: list[NodeRecord] = []
        self._due: dict[str, float] = {}

    def run_round(self, events: Sequence[Record]) -> None:
        """Take in *events*, look at what is due, and fill the queues."""
        for event in events:
            self._take_in(event)
        is_told = any(event.get("kind") == "job" for event in events)
        if self._is_due("line", _LINE_PERIOD_S) or is_told:
            for entry in self._line.read():
                self._plan_again(entry)
        if self._is_due("audit", _AUDIT_PERIOD_S):
            self._line.audit()
        self._ask_control()
        self._fill_queues()
        if self._is_due("nodes", self._runtime.settings.heartbeat_s / 2):
            self._read_nodes()
            self._send_again()
        if self._is_due("board", _BOARD_PERIOD_S):
            jobs = [(job, self._needed_pool(job)) for job in self._line.all_in_order()]
            show_schedule(self._runtime, jobs, self._forecast, self._nodes)
        if self._is_due("save", _SAVE_PERIOD_S):
            self._forecast.save(round(self._clock.time() * 1000))

    def forget(self) -> None:
        """Know nothing: another dispatcher has acted, what this one knows is old."""
        self._line.forget()

    def close(self) -> None:
        """Keep what was learned, and let go of the broker."""
        self._publisher.close()
        if not self._line.is_adopting:
            self._line.abandon()
        self._forecast.save(round(self._clock.time() * 1000))

    def _take_in(self, event: Record) -> None:
        job_id, now_s = str(event.get("job_id")), self._clock.monotonic()
        match event.get("kind"), self._line.get(job_id):
            case "ended", _:
                self._line.drop(job_id)
            case "job", None:
                self._line.tell(job_id)
            case "job", OpenJob() as job:
                images = event.get("images")
                if isinstance(images, list):
                    job.refresh(self._runtime.store, images, now_s)
                else:
                    job.load(self._runtime.store, now_s)
            case "unit", OpenJob() as job:
                self._unit_ended(job, event, now_s)

    def _unit_ended(self, job: OpenJob, event: Record, now_s: float) -> None:
        work = WorkMessage.model_validate(event).work
        match event.get("status"):
            case "rendered" | "present":
                job.done(work, now_s)
                self._forecast.observe(job.plan, work, event)
            case "failed" | "abandoned":
                if settle(self._runtime, job.entry.job_id):
                    self._line.drop(job.entry.job_id)
            case "moved":  # to the pool whose workers have more memory; its slice waits for it
                if (flight := job.flying.get(work)) is not None:
                    bigger = self._runtime.settings.bigger_pool.get(flight.pool, flight.pool)
                    job.flying[work] = Flight(bigger, now_s, flight.seconds, flight.attempt)
            case _:  # handed back, or what it needs is gone: the store tells
                job.flying.pop(work, None)
                job.refresh(self._runtime.store, [work.image], now_s)

    def _plan_again(self, entry: Entry) -> None:
        """The message that asks for a plan is lost when nobody has answered it for long."""
        if self._line.unplanned_s(entry.job_id) < _PLAN_GRACE_S:
            return
        try:
            request = self._runtime.ledger.request(entry.job_id)
        except NotFoundError:  # withdrawn between two steps
            self._runtime.entries.close(entry.job_id)
            return
        log.info("plan.sent_again", extra={"job_id": entry.job_id})
        payload = request.model_dump(mode="json", exclude_unset=True)
        self._publisher.send_plan(entry.job_id, payload, entry.priority)
        self._line.sent_again(entry.job_id)

    def _ask_control(self) -> None:
        """Ask for merges that no callback has asked for, and for results."""
        now_s = self._clock.monotonic()
        for job in self._line:
            if job.is_complete:
                self._ask(job, None, now_s)
            for image, since_s in list(job.control_since.items()):
                if now_s - since_s > _CONTROL_GRACE_S:
                    self._ask(job, image, now_s)

    def _ask(self, job: OpenJob, image: int | None, now_s: float) -> None:
        if now_s - job.asked_s.get(image, float("-inf")) < _CONTROL_GRACE_S:
            return
        images = None if image is None else [image]
        self._publisher.send_advance(job.entry.job_id, self._line.level(job), images)
        job.asked_s[image] = now_s

    def _fill_queues(self) -> None:
        pools = {self._pool(job) for job in self._line.in_order()}
        for pool in pools:
            self._fill(pool)

    def _fill(self, pool: str) -> None:
        depth, settings = self._publisher.depth(pool), self._runtime.settings
        alive = sum(pool in node.pools and not node.is_lost for node in self._nodes)
        workers = max(depth.consumers, alive, 1)
        space: int | None = None
        while jobs := [job for job in self._line.in_order() if self._pool(job) == pool]:
            job = jobs[0]
            if space is None:
                unit_s = self._forecast.unit(job.plan, next(job.ready())).mean_s
                space = room(depth.ready, unit_s, workers, settings.lookahead_s)
            if space <= 0:
                return
            units = job.take(min(space, settings.slice_units))
            self._send(job, units, pool)
            space -= len(units)

    def _send(self, job: OpenJob, units: Sequence[Work], pool: str, attempt: int = 0) -> None:
        seconds = [self._forecast.unit(job.plan, work).mean_s for work in units]
        priority, now_s = self._line.level(job), self._clock.monotonic()
        try:
            self._publisher.send_slice(job.entry.job_id, job.plan, units, priority, attempt)
        except TransientError:
            if not attempt:
                job.give_back(units)
            raise
        for work, unit_s in zip(units, seconds, strict=True):
            job.flying[work] = Flight(pool, now_s, unit_s, attempt)
        if not attempt:
            self._line.charge(job, sum(seconds))

    def _read_nodes(self) -> None:
        try:
            self._nodes = read_nodes(self._runtime.board, self._runtime.settings.heartbeat_s)
        except TransientError:
            self._nodes = []  # nobody is known to be alive, nobody is known to be lost

    def _send_again(self) -> None:
        """Send units that were lost, or that would be done sooner by an idle worker."""
        settings = self._runtime.settings
        if settings.is_embedded:  # nothing gets lost inside one process
            return
        ready = {pool: self._publisher.depth(pool).ready for pool in settings.pools}
        now_s = self._clock.monotonic()
        sight = Sight(self._nodes, ready, now_s, settings.heartbeat_s)
        overdue = [(job, work) for job in self._line for work in lost_units(job, sight)]
        for pool in settings.pools:
            overdue += late_units(list(self._line), pool, sight, self._expected)
        for job, work in overdue:
            flight = job.flying[work]
            if self._runtime.store.exists(work.key(job.plan)):
                job.done(work, now_s)
                continue
            log.info("work.sent_again", extra={"job_id": job.entry.job_id, "work": work.label})
            self._send(job, [work], flight.pool, flight.attempt + 1)

    def _expected(self, job: OpenJob, work: Work) -> tuple[float, float]:
        return self._forecast.unit(job.plan, work)

    def _pool(self, job: OpenJob) -> str:
        """The pool that the job's next units need."""
        stage = job.next_stage()
        return self._publisher.pool_of(job.plan, stage) if stage else ""

    def _needed_pool(self, job: OpenJob) -> str:
        """The pool that works for the job, also while nothing of it is left to be sent."""
        flown = next((flight.pool for flight in job.flying.values()), None)
        return self._pool(job) or flown or self._publisher.pool_of(job.plan, Stage.TILE)

    def _is_due(self, what: str, period_s: float) -> bool:
        now_s = self._clock.monotonic()
        if now_s < self._due.get(what, 0.0):
            return False
        self._due[what] = now_s + period_s
        return True
