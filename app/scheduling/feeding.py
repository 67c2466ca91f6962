"""Fills the pools' queues: how much goes out now, whose it is, and in which messages."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from app.bootstrap import Runtime
from app.domain.errors import ConfigurationError, TransientError
from app.domain.scheduling.slices import batch_size, room
from app.domain.spec import Priority
from app.domain.work import Stage, Work
from app.nodes import NodeRecord
from app.scheduling.forecast import Forecast
from app.scheduling.job import OpenJob
from app.scheduling.line import Clock, Line
from app.scheduling.publishing import Depth, Publisher, Slice
from app.workflow import stage_model

log = logging.getLogger(__name__)


class Feeder:
    """Takes units from the jobs in line and sends them."""

    def __init__(
        self, runtime: Runtime, publisher: Publisher, clock: Clock, line: Line, forecast: Forecast
    ) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._clock = clock
        self._line = line
        self._forecast = forecast
        self._pools: dict[tuple[Stage, str], str] = {}

    def fill(self, nodes: Sequence[NodeRecord]) -> None:
        """Fill every pool that some job has units for."""
        for pool, jobs in self.with_work().items():
            self._fill(pool, jobs, nodes)

    def with_work(self) -> dict[str, list[OpenJob]]:
        """Jobs that have units to be sent, by the pools that those need."""
        found: dict[str, list[OpenJob]] = defaultdict(list)
        for job in self._line:
            if not job.entry.is_paused:
                for pool in {self._served(job, stage) for stage in job.ready_stages()} - {""}:
                    found[pool].append(job)
        return found

    def pool_for(self, job: OpenJob) -> str:
        """The pool that works for the job now, or will."""
        flown = (flight.pool for flight in job.flying.values())
        ready = (self._served(job, stage) for stage in job.ready_stages())
        return next(flown, "") or next(ready, "") or self._served(job, Stage.TILE)

    def send_again(self, overdue: Iterable[tuple[OpenJob, Work]]) -> None:
        """Send units once more, those of one job that are alike as one slice."""
        slices: dict[tuple[str, str, int, Stage, int], list[tuple[OpenJob, Work]]] = {}
        for job, work in overdue:
            flight = job.flying[work]
            key = job.entry.job_id, flight.pool, flight.attempt, work.stage, work.phase
            slices.setdefault(key, []).append((job, work))
            fields = {"job_id": job.entry.job_id, "work": work.label, "attempt": flight.attempt + 1}
            log.info("work.sent_again", extra=fields)
        most = self._runtime.settings.slice_units
        for (_, pool, attempt, _, _), found in slices.items():
            job, units = found[0][0], [work for _, work in found]
            for start in range(0, len(units), most):
                self._send(job, units[start : start + most], pool, attempt=attempt + 1)

    def _fill(self, pool: str, jobs: Sequence[OpenJob], nodes: Sequence[NodeRecord]) -> None:
        depth = self._publisher.depth(pool)
        workers = _workers(pool, depth, nodes)
        ready, spaces = depth.ready, dict[Priority, int]()
        while jobs := [job for job in jobs if self._stages(job, pool)]:
            job = self._line.in_order(jobs, pool)[0]
            batch = self._batch(jobs, workers)
            level = self._line.level(job)
            if level not in spaces:
                before = min(ready, math.ceil(self._flying(pool, level) / batch))
                unit_s = self._forecast.unit(job.plan, next(job.ready())).mean_s
                lookahead_s = self._runtime.settings.lookahead_s
                spaces[level] = room(before, unit_s * batch, workers, lookahead_s)
            if spaces[level] <= 0:
                return
            count = min(spaces[level] * batch, self._runtime.settings.slice_units)
            units = job.take(count, self._stages(job, pool), pool, self._clock.monotonic())
            self._send(job, units, pool, batch=batch)
            messages = math.ceil(len(units) / batch)
            ready, spaces[level] = ready + messages, spaces[level] - messages

    def _flying(self, pool: str, level: Priority) -> int:
        """Units of *pool* under way that the broker serves no later than those of *level*."""
        return sum(
            sum(flight.pool == pool for flight in job.flying.values())
            for job in self._line
            if self._line.level(job).level >= level.level
        )

    def _batch(self, jobs: Sequence[OpenJob], workers: int) -> int:
        """Units of one message: as many as are set, fewer when the end is near."""
        pending = sum(job.ready_units for job in jobs)
        return max(1, batch_size(pending, workers, self._runtime.settings.tile_batch))

    def _send(
        self, job: OpenJob, units: Sequence[Work], pool: str, *, attempt: int = 0, batch: int = 1
    ) -> None:
        level, now_s = self._line.level(job), self._clock.monotonic()
        try:
            self._publisher.send_slice(
                job.entry.job_id, job.plan, Slice(tuple(units), level, attempt, batch)
            )
        except TransientError:
            if not attempt:
                job.give_back(units)
            raise
        for work in units:
            flight = job.flying[work]
            flight.sent_s, flight.unseen_since_s, flight.attempt = now_s, None, attempt
            flight.seconds = self._forecast.unit(job.plan, work).mean_s
        if not attempt:
            self._line.charge(job, pool, sum(job.flying[work].seconds for work in units))

    def _stages(self, job: OpenJob, pool: str) -> list[Stage]:
        return [stage for stage in job.ready_stages() if self._served(job, stage) == pool]

    def _served(self, job: OpenJob, stage: Stage) -> str:
        """The pool that serves *stage* of the job; the job ends here when there is none."""
        key = stage, stage_model(job.plan, stage)
        try:
            if key not in self._pools:
                self._pools[key] = self._publisher.pool_of(job.plan, stage)
        except ConfigurationError as err:
            self._line.fail(job.entry.job_id, err)
            return ""
        return self._pools[key]


def _workers(pool: str, depth: Depth, nodes: Sequence[NodeRecord]) -> int:
    """Workers of *pool*, at least one: whoever starts first finds something to do."""
    alive = sum(pool in node.pools and not node.is_lost for node in nodes)
    return max(depth.consumers, alive, 1)
