"""What people are shown of the line: position, time left, work waiting in each pool."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from app.bootstrap import Runtime
from app.domain.errors import TransientError
from app.live.port import Record
from app.nodes import NodeRecord, NodeState
from app.scheduling.forecast import Forecast
from app.scheduling.job import OpenJob
from app.scheduling.line import Clock

_SHOWN_S = 15.0


class Schedule:
    """Shows every open job and every pool on the live board."""

    def __init__(self, runtime: Runtime, forecast: Forecast, clock: Clock) -> None:
        self._runtime = runtime
        self._forecast = forecast
        self._clock = clock

    def show(
        self, pool: str, jobs: Sequence[OpenJob], nodes: Sequence[NodeRecord], demand_s: float
    ) -> None:
        """Show *jobs*, those of *pool* in the order in which they are served.

        And the pool: *demand_s* of work, of whatever jobs, wait for it.
        """
        alive = [node for node in nodes if node.serves(pool)]
        crew = [node for node in alive if node.state is not NodeState.DRAINING]
        ahead_s = 0.0
        try:
            for position, job in enumerate(jobs):
                left_s = self._forecast.left_s(job)
                shown = self._record(job, position, crew, ahead_s)
                shown |= {"pending_s": round(left_s, 1)}
                self._runtime.board.show("schedule", job.entry.job_id, shown, ttl_s=_SHOWN_S)
                if not job.entry.is_paused:
                    ahead_s += left_s
            record: Record = {"pending_s": round(demand_s, 1), "workers": len(alive)}
            record |= {"crew": dict(Counter(node.device for node in crew))}
            record |= {"open_jobs": len(jobs), "oldest_s": round(self._oldest_s(jobs), 1)}
            self._runtime.board.show("pools", pool, record, ttl_s=_SHOWN_S)
        except TransientError:  # nothing is lost but a line on a screen
            return

    def _oldest_s(self, jobs: Sequence[OpenJob]) -> float:
        """How long the oldest of *jobs* that is not paused has been in line."""
        accepted_ms = [job.entry.accepted_ms for job in jobs if not job.entry.is_paused]
        return max(self._clock.time() - min(accepted_ms) / 1000, 0.0) if accepted_ms else 0.0

    def _record(
        self, job: OpenJob, position: int, crew: Sequence[NodeRecord], ahead_s: float
    ) -> Record:
        left_s = math.inf
        if not job.entry.is_paused:
            left_s = self._forecast.eta_s(job, crew, ahead_s, self._clock.monotonic())
        return {
            "position": position,
            "eta_s": round(left_s, 1) if math.isfinite(left_s) else None,
            "deadline_ms": job.entry.deadline_ms,
            "pending_units": job.pending_units,
            "state": "paused" if job.entry.is_paused else "open",
        }
