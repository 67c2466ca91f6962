"""How soon workers are free again after a job is cancelled.

Run: ``python -m tests.benchmarks.bench_cancel [TIMES]``. Real RabbitMQ, Redis, S3 and workers; a
tile is a wait of a minute in steps of known length. Every worker has one tile of the job that is
cancelled, and another job waits. Measured from the call of ``cancel`` until the last tile of the
other job is begun: an upper bound, for that job is prepared and its tiles given out meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from app.bootstrap import Runtime
from app.domain.work import Stage
from app.nodes import read_nodes
from app.scheduling.publishing import Publisher
from tests.benchmarks.bench_schedule import cluster, order
from tests.benchmarks.paced_worker import STEP_S
from tests.benchmarks.pacing import Crew
from tests.support.waiting import wait_for

_WORKERS = 4
_LONG_S, _SHORT_S = 60.0, 0.5
_TIMES = 10


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else _TIMES
    with cluster() as folder:
        waits = _waits(folder, times)
    shown = ", ".join(f"{1000 * wait:.0f}" for wait in sorted(waits))
    Console(width=120).print(
        f"{_WORKERS} workers were free {1000 * median(waits):.0f} ms after cancel, in the median "
        f"({shown}); a step took {1000 * STEP_S:.0f} ms",
        soft_wrap=True,
    )


def _waits(folder: Path, times: int) -> Sequence[float]:
    from app.bootstrap import runtime
    from app.tasks import render

    with Crew(folder, (1.0,) * _WORKERS) as crew:
        render.delay(order(16, 0.1, 0.0, seed=1000)).get(timeout=600)
        return [_wait(crew, runtime(), 2 * number) for number in range(times)]


def _wait(crew: Crew, app: Runtime, seed: int) -> float:
    from app.client import cancel
    from app.tasks import render

    long = render.delay(order(_WORKERS, _LONG_S, 0.0, seed=seed)).id
    wait_for(lambda: _at_hand(app, long) == _WORKERS, limit_s=60)
    other = render.delay(order(_WORKERS, _SHORT_S, 0.0, seed=seed + 1))
    wait_for(lambda: Publisher(app).depth("gpu").ready > 0, limit_s=60)
    began_s = time.time()
    cancel(long)
    other.get(timeout=600)
    return max(start for start, _ in crew.tile_spans(app, other.id)) - began_s


def _at_hand(app: Runtime, job_id: str) -> int:
    """Tiles of the job that workers show."""
    nodes = read_nodes(app.board, app.settings.heartbeat_s)
    units = [unit for node in nodes for unit in node.at_hand if unit.job_id == job_id]
    return sum(unit.stage is Stage.TILE for unit in units)


if __name__ == "__main__":
    main()
