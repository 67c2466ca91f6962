"""What people are shown of the line: position, time left, work waiting in each pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from app.bootstrap import Runtime
from app.domain.errors import TransientError
from app.nodes import NodeRecord
from app.scheduling.forecast import Forecast
from app.scheduling.job import OpenJob

_SHOWN_S = 15.0


def show_schedule(
    runtime: Runtime,
    jobs: Sequence[tuple[OpenJob, str]],
    forecast: Forecast,
    nodes: Sequence[NodeRecord],
) -> None:
    """Show every open job, first the one that is served next, and every pool.

    Each comes with the pool that its next units need.
    """
    workers: dict[str, int] = defaultdict(int)
    for node in nodes:
        for pool in node.pools:
            workers[pool] += not node.is_lost
    pending_s: dict[str, float] = defaultdict(float)
    ready: dict[str, int] = defaultdict(int)
    try:
        for position, (job, pool) in enumerate(jobs):
            left_s, is_paused = forecast.left_s(job), job.entry.is_paused
            if not is_paused:  # no worker is needed for what may not be done
                pending_s[pool] += left_s
                ready[pool] += job.ready_units
            record: dict[str, object] = {
                "position": position,
                "eta_s": round(pending_s[pool] / max(1, workers[pool]), 1),
                "deadline_ms": job.entry.deadline_ms,
                "pending_units": job.pending_units,
                "pending_s": round(left_s, 1),
                "state": "paused" if is_paused else "open",
            }
            runtime.board.show("schedule", job.entry.job_id, record, ttl_s=_SHOWN_S)
        for pool in runtime.settings.pools:
            shown = {
                "ready": ready[pool],
                "pending_s": round(pending_s[pool], 1),
                "workers": workers[pool],
            }
            runtime.board.show("pools", pool, shown, ttl_s=_SHOWN_S)
    except TransientError:  # nothing is lost but a line on a screen
        return
