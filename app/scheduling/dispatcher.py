"""Keeps every pool's queue at a few seconds of work, and chooses whose work that is.

What lies in a broker's queue can be neither reordered nor paused nor shared fairly, so little is
put there. All a dispatcher knows can be read again from the store: it may die at any time.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace

from pydantic import ValidationError

from app.bootstrap import Runtime
from app.domain.errors import TransientError
from app.domain.work import Outcome, Work, plan_key
from app.live.port import Record
from app.nodes import CurrentUnit, NodeRecord, read_nodes
from app.outcomes import settle
from app.scheduling.asking import Asker
from app.scheduling.board import Schedule
from app.scheduling.demand import demand_s
from app.scheduling.feeding import Feeder
from app.scheduling.forecast import Forecast
from app.scheduling.job import Flight, OpenJob
from app.scheduling.late import is_tail, late_units
from app.scheduling.line import Clock, Line
from app.scheduling.overdue import Served, Sight, lost_units
from app.scheduling.publishing import Publisher
from app.scheduling.reach import Reach
from app.scheduling.steps import StepTimes, done_in
from app.scheduling.unserved import Unserved
from app.schemas import WorkMessage

log = logging.getLogger(__name__)

_LINE_PERIOD_S = 0.5
_AUDIT_PERIOD_S = 5.0
_BOARD_PERIOD_S = 1.0
_SAVE_PERIOD_S = 60.0


class Dispatcher:
    """One round looks at everything once; ``run_round`` is called again and again."""

    def __init__(
        self, runtime: Runtime, publisher: Publisher, clock: Clock, *, is_adopting: bool = True
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._clock = clock
        self._line = Line(runtime, clock, is_adopting=is_adopting, catch_up=self._catch_up)
        self._asker = Asker(runtime, publisher, clock, self._line)
        self._forecast = Forecast(runtime.store)
        self._reach = Reach(runtime, publisher, self._line)
        self._feeder = Feeder(runtime, publisher, clock, self._line, self._forecast, self._reach)
        self._steps = StepTimes()
        self._schedule = Schedule(runtime, self._forecast, clock)
        self._unserved = Unserved(runtime, clock, self._line, self._reach)
        self._nodes: list[NodeRecord] = []
        self._served = Served()
        self._done_s: dict[str, float] = {}
        self._heard: dict[str, deque[Record]] = defaultdict(deque)

    def run_round(self, events: Sequence[Record]) -> None:
        """Take in *events*, look at what is due, and fill the queues."""
        self._line.begin_round()
        is_told = any(map(self._is_of_the_line, events))
        self._hear(events)
        if self._is_due("line", _LINE_PERIOD_S) or is_told:
            self._asker.ask_for_plans(self._line.read())
        if self._is_due("audit", _AUDIT_PERIOD_S):
            self._line.audit()
        heartbeat_s = self._runtime.settings.heartbeat_s
        has_looked = self._is_due("nodes", heartbeat_s / 2) or (
            # Workers idle while the last units take their time: seconds count.
            self._is_due("tail", heartbeat_s / 8) and is_tail(self._line, self._nodes)
        )
        if has_looked:
            self._read_nodes()
        self._asker.ask_for_merges()
        self._feeder.fill()
        if has_looked:
            self._send_again()
            self._unserved.look()
        if self._is_due("board", _BOARD_PERIOD_S):
            self._show()
        if self._is_due("save", _SAVE_PERIOD_S):
            self._forecast.save(round(self._clock.time() * 1000))

    def forget(self) -> None:
        """Know nothing: another dispatcher has acted, what this one knows is old."""
        self._line.forget()
        self._forecast.forget()
        self._unserved.forget()
        self._done_s.clear()
        self._heard.clear()

    def close(self) -> None:
        """Keep what was learned, and let go of the broker."""
        self._publisher.close()
        if not self._line.is_adopting:
            for event in self._runtime.board.listen(0):  # submitted since the last round
                self._line.tell(str(event.get("job_id")))
            self._line.abandon()
        self._forecast.save(round(self._clock.time() * 1000))

    def _hear(self, events: Sequence[Record]) -> None:
        """Take in *events*; what cannot be while the store is away, in a later round."""
        for event in events:
            self._heard[str(event.get("job_id"))].append(event)
        self._line.each(list(self._heard), self._catch_up)

    def _is_of_the_line(self, event: Record) -> bool:
        """Whether the line may have changed; a control step of a job in it has changed the job."""
        is_step = isinstance(event.get("images"), list) and self._line.get(str(event.get("job_id")))
        return event.get("kind") == "job" and not is_step

    def _catch_up(self, job_id: str) -> None:
        """Take in what was heard of a job, in its order: what is refused keeps back the rest."""
        while heard := self._heard.get(job_id):
            self._take_in(heard[0])
            heard.popleft()
        self._heard.pop(job_id, None)

    def _take_in(self, event: Record) -> None:
        job_id, now_s = str(event.get("job_id")), self._clock.monotonic()
        match event.get("kind"), self._line.get(job_id):
            case "ended", job:
                self._ended(job, now_s)
                self._line.drop(job_id)
            case "job", None:
                self._steps.told(now_s)
                self._line.tell(job_id)
            case "job", OpenJob() as job:
                self._moved_on(job, event, now_s)
            case "unit", OpenJob() as job:
                if (message := _message_of(event)) and message.plan_hash == job.plan.hash:
                    self._unit_ended(job, message, event, now_s)
            case "unit", None:
                self._outlived(job_id, event)

    def _moved_on(self, job: OpenJob, event: Record, now_s: float) -> None:
        times = self._steps.moved_on(job, event, now_s)
        images = event.get("images")
        if isinstance(images, list):
            if event.get("done") == []:
                # Mostly a slice's end that was not the last; whoever has units to send yet hears
                # of their ends too, and to list many blobs takes long.
                images = [image for image in images if not job.has_ready(image)]
            job.refresh(self._runtime.store, images, now_s, done_in(event))
        else:
            job.load(self._runtime.store, now_s)
        self._forecast.observe_steps(job.plan, times)

    def _ended(self, job: OpenJob | None, now_s: float) -> None:
        if job is None:
            self._steps.told(now_s)
            return
        times = self._steps.finished(job, now_s)
        if times and self._runtime.ledger.has_result(job.entry.job_id):  # it did not fail
            self._forecast.observe_steps(job.plan, times)

    def _outlived(self, job_id: str, event: Record) -> None:
        """Learn from runs that took longer than their job: slow ones do so more often, and
        without them every unit would be thought quicker than it is."""
        plan = self._line.ended(job_id)
        if plan and (message := _message_of(event)) and message.plan_hash == plan.hash:
            for work in message.works:
                self._forecast.observe(plan, work, event)

    def _unit_ended(self, job: OpenJob, message: WorkMessage, event: Record, now_s: float) -> None:
        status = event.get("status")
        if status in (Outcome.FAILED, Outcome.ABANDONED) and settle(
            self._runtime, job.entry.job_id
        ):
            self._line.drop(job.entry.job_id)
            return
        for work in message.works:
            if status in (Outcome.RENDERED, Outcome.PRESENT):
                if (flight := job.done(work, now_s)) is not None:
                    self._line.settle_charge(job, flight, event)
                    self._served.note(flight)
                self._forecast.observe(job.plan, work, event)
            elif status == Outcome.MOVED:  # to workers with more memory; its slice waits for it
                if (flight := job.flying.get(work)) is not None:
                    bigger = self._runtime.settings.bigger_pool.get(flight.pool, flight.pool)
                    there = replace(flight, pool=bigger, sent_s=now_s, node="", number=0)
                    job.flying[work] = replace(there, unseen_since_s=None)
            elif (flight := job.flying.pop(work, None)) is not None:  # the store tells what is next
                self._line.refund(job, flight)
        if status == Outcome.GONE:  # perhaps the plan itself: nobody else has it any more
            self._runtime.store.put(plan_key(job.plan.hash), job.plan.to_json())
        if status not in (Outcome.RENDERED, Outcome.PRESENT, Outcome.MOVED):
            job.refresh(self._runtime.store, [message.image], now_s)

    def _read_nodes(self) -> None:
        try:
            self._nodes = read_nodes(self._runtime.board, self._runtime.settings.heartbeat_s)
        except TransientError:
            self._nodes = []  # nobody is known to be alive, nobody is known to be lost
            self._unserved.forget()
        else:
            names = {node.node for node in self._nodes}
            self._forecast.forget_nodes(names)
            self._served.forget_lanes({*names, *self._runtime.settings.pools})
        self._reach.see(self._nodes)
        self._asker.see(self._nodes)
        self._adopt()

    def _adopt(self) -> None:
        """What a node works on is on its way: another dispatcher has sent it."""
        now_s = self._clock.monotonic()
        for node in self._nodes:
            for unit in [] if node.is_lost else node.at_hand:
                job = self._line.get(unit.job_id)
                if job is not None and job.plan.hash == unit.plan_hash:
                    self._adopt_of(node, unit, job, now_s)

    def _adopt_of(self, node: NodeRecord, unit: CurrentUnit, job: OpenJob, now_s: float) -> None:
        name, level = node.node if node.queue else "", self._line.level(job)
        for work in unit.works:
            pool = self._reach.pool_at(node, job, work.stage)
            job.adopt(work, Flight(pool, now_s - unit.elapsed_s, node=name, level=level))
        self._line.serve(job)

    def _send_again(self) -> None:
        """Send units that were lost, or that would be done sooner by another worker."""
        settings = self._runtime.settings
        if settings.is_embedded:  # nothing gets lost inside one process
            return
        now_s, jobs = self._clock.monotonic(), list(self._line)
        lanes = {flight.lane: flight for job in jobs for flight in job.flying.values()}
        ready = {
            lane: self._publisher.depth(flight.pool, flight.node).ready
            for lane, flight in lanes.items()
        }
        sight = Sight(self._nodes, ready, now_s, settings.heartbeat_s, self._served)
        open_jobs = [job for job in jobs if not job.entry.is_paused]
        lost = [(job, work) for job in open_jobs for work in lost_units(job, sight)]
        self._feeder.send_again(self._missing(lost, now_s))
        waiting = self._feeder.with_work()
        late = [
            unit
            for pool in {flight.pool for flight in lanes.values()}
            for unit in late_units(self._line, pool, waiting.get(pool, ()), sight, self._forecast)
        ]
        self._feeder.send_again(self._missing(late, now_s), is_late=True)

    def _missing(
        self, overdue: Sequence[tuple[OpenJob, Work]], now_s: float
    ) -> list[tuple[OpenJob, Work]]:
        """Those of *overdue* that are not done after all."""
        units: dict[str, list[tuple[OpenJob, Work]]] = defaultdict(list)
        missing: list[tuple[OpenJob, Work]] = []
        for job, work in overdue:
            units[job.entry.job_id].append((job, work))

        def look(job_id: str) -> None:
            for job, work in units[job_id]:
                if self._runtime.store.exists(work.key(job.plan)):
                    job.done(work, now_s)
                else:
                    missing.append((job, work))

        self._line.each(units, look)
        return [(job, work) for job, work in missing if work in job.flying]

    def _show(self) -> None:
        jobs: dict[str, list[OpenJob]] = defaultdict(list)
        for job in self._line:
            jobs[self._reach.pool_for(job)].append(job)
        waiting_s = demand_s(self._line, self._reach, self._forecast)
        for pool in self._runtime.settings.pools:
            standing = self._line.standing(pool, jobs[pool])
            self._schedule.show(pool, standing, self._nodes, waiting_s.get(pool, 0.0))

    def _is_due(self, what: str, period_s: float) -> bool:
        now_s = self._clock.monotonic()
        if now_s - self._done_s.get(what, -math.inf) < period_s:
            return False
        self._done_s[what] = now_s
        return True


def _message_of(event: Record) -> WorkMessage | None:
    """The message whose units *event* tells of."""
    try:
        return WorkMessage.model_validate(event)
    except ValidationError as err:  # of a worker that is newer than this process
        log.warning("event.unreadable", extra={"reason": str(err), "event": event})
        return None
