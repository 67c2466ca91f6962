"""Fills the pools' queues: how much goes out now, whose it is, and in which messages."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count

from app.bootstrap import Runtime
from app.domain.errors import RenderError
from app.domain.scheduling.slices import batch_size, room, units_within
from app.domain.spec import Priority
from app.domain.work import Stage, Work, stage_model
from app.nodes import NodeRecord
from app.scheduling.forecast import Forecast
from app.scheduling.job import OpenJob
from app.scheduling.line import Clock, Line
from app.scheduling.opening import Turn, early_turn
from app.scheduling.placing import Crew, Placing
from app.scheduling.publishing import Depth, Publisher, Slice
from app.scheduling.reach import Reach

log = logging.getLogger(__name__)


class Feeder:
    """Takes units from the jobs in line and sends them."""

    def __init__(
        self,
        runtime: Runtime,
        publisher: Publisher,
        clock: Clock,
        line: Line,
        forecast: Forecast,
        reach: Reach,
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._clock = clock
        self._line = line
        self._forecast = forecast
        self._reach = reach
        self._numbers = count(1)
        self._placing = Placing(runtime, line, forecast, reach)

    def fill(self) -> None:
        """Fill every pool that some job has units for."""
        for pool, jobs in self.with_work().items():
            self._fill(pool, jobs)

    def with_work(self) -> dict[str, list[OpenJob]]:
        """Jobs that have units to be sent, by the pools that those need."""
        found: dict[str, list[OpenJob]] = defaultdict(list)
        for job in self._line:
            if not job.entry.is_paused:
                for pool in {self._reach.served(job, stage) for stage in job.ready_stages()} - {""}:
                    found[pool].append(job)
        return found

    def send_again(self, overdue: Iterable[tuple[OpenJob, Work]], *, is_late: bool = False) -> None:
        """Send units once more, those of one job that are alike as one slice.

        Late ones only help where nothing of their level is done, lost ones go to any node.
        """
        slices: dict[tuple[str, str, str, int, Stage, int], list[Work]] = defaultdict(list)
        crews: dict[tuple[str, Priority], Crew | None] = {}
        jobs = {}
        for job, work in overdue:
            pool, node = self._place_again(job, work, crews, is_late=is_late)
            if node is None:  # asked again at the next look
                continue
            attempt = job.flying[work].attempt + 1
            jobs[job.entry.job_id] = job
            slices[job.entry.job_id, pool, node, attempt, work.stage, work.phase].append(work)
            fields = {"job_id": job.entry.job_id, "work": work.label, "attempt": attempt}
            log.info("work.sent_again", extra=fields)
        most = self._runtime.settings.slice_units
        for (job_id, pool, node, attempt, _, _), units in slices.items():
            for start in range(0, len(units), most):
                part = units[start : start + most]
                names = [node] * len(part) if node else []
                self._send(jobs[job_id], part, pool, attempt=attempt, nodes=names)

    def _place_again(
        self,
        job: OpenJob,
        work: Work,
        crews: dict[tuple[str, Priority], Crew | None],
        *,
        is_late: bool,
    ) -> tuple[str, str | None]:
        """Pool and node for a unit once more; no name for a shared queue, ``None`` to wait."""
        flight = job.flying[work]
        pool = self._reach.pool_with_room(flight.pool, stage_model(job.plan, work.stage))
        level = self._line.level(job) if is_late else Priority.LOW
        if (place := (pool, level)) not in crews:
            crews[place] = self._placing.crew(pool, level=level)
        if (crew := crews[place]) is None:
            return pool, ""
        need = self._placing.need(job, work)
        return pool, crew.place_again(need, but=flight.node, is_idle=is_late)

    def _fill(self, pool: str, jobs: Sequence[OpenJob]) -> None:
        if self._placing.crew(pool) is not None:
            self._fill_nodes(pool, jobs)
            return
        depth = self._publisher.depth(pool)
        workers = _workers(pool, depth, self._reach.nodes)
        ready, spaces = depth.ready, dict[tuple[Priority, Stage], int]()
        while jobs := [job for job in jobs if self._stages(job, pool)]:
            turn, early = self._turns(jobs, pool)
            level = self._line.level(turn.job)
            batch = self._batch(turn, pool, jobs, workers)
            if (kind := (level, turn.stages[0])) not in spaces:
                before = min(ready, math.ceil(self._flying(pool, level) / batch))
                unit_s = self._unit_s(turn)
                lookahead_s = self._runtime.settings.lookahead_s
                spaces[kind] = room(before, unit_s * batch, workers, lookahead_s)
            if spaces[kind] <= 0:
                return
            messages = self._give(early or turn, pool, 1 if early else spaces[kind], batch)
            if not early:
                self._line.spend_rise(level, turn.job, jobs)
            ready += messages
            for other in [one for one in spaces if one[0].level <= level.level]:
                spaces[other] -= messages

    def _give(self, turn: Turn, pool: str, most: int, batch: int) -> int:
        """Send up to *most* messages of *batch* units each; how many those were."""
        units = turn.job.take(
            min(most * batch, turn.most), turn.stages, pool, self._clock.monotonic()
        )
        self._send(turn.job, units, pool, batch=batch, is_early=turn.is_early)
        return math.ceil(len(units) / batch)

    def _fill_nodes(self, pool: str, jobs: Sequence[OpenJob]) -> None:
        """Give units to nodes until they have enough; a job that has to wait lets others by."""
        may_open, waiting = True, list[OpenJob]()
        while jobs := [job for job in jobs if self._stages(job, pool)]:
            turn, early = self._turns(jobs, pool, waiting)
            level = self._line.level(turn.job)
            crew = self._placing.crew(pool, unit_s=self._unit_s(turn), level=level)
            batch = self._batch(turn, pool, jobs, len(crew.nodes)) if crew else 0
            if crew and early and may_open:  # who cannot be opened now does not hold up the others
                may_open = self._place(early, pool, crew, batch)
                continue
            members = jobs
            if crew is None or not self._place(turn, pool, crew, batch):
                jobs = [other for other in jobs if other is not turn.job]
                waiting.append(turn.job)
            self._line.spend_rise(level, turn.job, members)

    def _place(self, turn: Turn, pool: str, crew: Crew, batch: int) -> bool:
        """Send units to nodes; whether there were nodes for as many as were taken."""
        job, most = turn.job, min(crew.room, turn.most)
        units = job.take(most, turn.stages, pool, self._clock.monotonic())
        placed = [(work, crew.place(self._placing.need(job, work))) for work in units]
        names = {work: node for work, node in placed if node is not None}
        job.give_back([work for work in units if work not in names])
        if names:
            nodes = list(names.values())
            self._send(job, list(names), pool, batch=batch, nodes=nodes, is_early=turn.is_early)
        return bool(names) and len(names) == len(units)

    def _turns(
        self, jobs: Sequence[OpenJob], pool: str, waiting: Sequence[OpenJob] = ()
    ) -> tuple[Turn, Turn | None]:
        """Whose units *pool* gets next, of *jobs*, which all have some; what is opened before.

        For those *waiting* no node has room.
        """
        ordered = self._line.in_order(jobs, pool, waiting)
        first, level = ordered[0], self._line.level(ordered[0])
        alike = (job for job in ordered if self._line.level(job) is level)

        def stages_of(job: OpenJob) -> list[Stage]:
            return self._stages(job, pool)

        turn = Turn(first, stages_of(first), self._runtime.settings.slice_units)
        return turn, early_turn(first, alike, self._line, pool, stages_of)

    def _flying(self, pool: str, level: Priority) -> int:
        """Units of *pool* under way that the broker serves no later than those of *level*."""
        return sum(
            sum(
                flight.pool == pool and flight.level.level >= level.level
                for flight in job.flying.values()
            )
            for job in self._line
        )

    def _batch(self, turn: Turn, pool: str, jobs: Sequence[OpenJob], workers: int) -> int:
        """Units of one message: those of a batch, or of a short time; fewer when the end is near.

        Before one was rendered nobody knows which are short. Tiles alone share messages.
        """
        chosen, plan, work = self._runtime.settings, turn.job.plan, turn.job.first(turn.stages)
        if work.stage is not Stage.TILE:
            return 1
        most = chosen.tile_batch
        if self._forecast.has_learned(plan, work):
            most = max(most, units_within(chosen.message_s, self._unit_s(turn)))
        pending = sum(other.ready_of(self._stages(other, pool)) for other in jobs)
        return max(1, batch_size(pending, workers, most))

    def _unit_s(self, turn: Turn) -> float:
        """Predicted seconds of the units that are sent next."""
        return self._forecast.unit(turn.job.plan, turn.job.first(turn.stages)).mean_s

    def _send(
        self,
        job: OpenJob,
        units: Sequence[Work],
        pool: str,
        *,
        attempt: int = 0,
        batch: int = 1,
        nodes: Sequence[str] = (),
        is_early: bool = False,
    ) -> None:
        # What was lost has waited already: it goes before all that lies in the queue.
        level = Priority.HIGH if attempt else self._line.level(job)
        moved = pool if self._reach.may_serve(pool, job, units[0].stage) else ""
        sent = Slice(tuple(units), level, attempt, batch, tuple(nodes), moved)
        now_s, number = self._clock.monotonic(), next(self._numbers)
        try:
            self._publisher.send_slice(job.entry.job_id, job.plan, sent)
        except RenderError:
            if not attempt:
                job.give_back(units)
            raise
        for work, node in zip(units, nodes or [""] * len(units), strict=True):
            flight = job.flying[work]
            flight.sent_s, flight.unseen_since_s, flight.attempt = now_s, None, attempt
            flight.pool, flight.node, flight.level, flight.number = pool, node, level, number
            flight.seconds = self._forecast.on_node(job.plan, work, node).mean_s
        if not attempt:
            if not is_early:  # its rise is for the tiles
                self._line.serve(job)
            for work in units:
                self._line.charge(job, job.flying[work])

    def _stages(self, job: OpenJob, pool: str) -> list[Stage]:
        return [stage for stage in job.ready_stages() if self._reach.served(job, stage) == pool]


def _workers(pool: str, depth: Depth, nodes: Sequence[NodeRecord]) -> int:
    """Workers of *pool*, at least one: whoever starts first finds something to do."""
    alive = sum(node.serves(pool) for node in nodes)
    return max(depth.consumers, alive, 1)
