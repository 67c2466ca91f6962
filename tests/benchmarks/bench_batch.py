"""A thousand pictures as one job on three workers, one of which dies, against one worker.

Run: ``python -m tests.benchmarks.bench_batch [PICTURES [SECONDS]]``. Real RabbitMQ, Redis, S3,
messages and blobs; rendering a picture is a wait of SECONDS. Nothing is rendered together or taken
from the cache, so what three workers gain over one is parallelism alone. What the cache gains is
told apart: the same order once more.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from app.bootstrap import Runtime
from tests.benchmarks.bench_schedule import cluster, order
from tests.benchmarks.pacing import Crew

_GROUPS = 10
_ALONE_SHARE = 0.1  # of the pictures; one worker is timed on these
_DEATH_SHARE = 0.4  # of the pictures are finished when a worker dies
_LOOK_S = 0.5
_LOOK_AT_ALL_S = 5.0  # lists all blobs of the job
console = Console(width=120)


def main() -> None:
    pictures = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
    with cluster() as folder:
        alone = _measure(folder, 1, round(pictures * _ALONE_SHARE), seconds, dies=False)
        whole = _measure(folder, 3, pictures, seconds, dies=False)
        short = _measure(folder, 3, pictures, seconds, dies=True)
    console.print(f"three workers give {whole / alone:.2f} times the pictures of one")
    console.print(f"and {short / alone:.2f} times when one of them dies")


def _measure(folder: Path, workers: int, pictures: int, seconds: float, *, dies: bool) -> float:
    """Pictures a second, from the first tile to the last picture."""
    from app.bootstrap import runtime
    from app.manifests import read_runs
    from app.tasks import render

    seed = 10_000 * workers + 1_000_000 * dies
    app = runtime()
    with Crew(folder, (1.0,) * workers) as crew:
        render.delay(order(1, seconds, 0.0, seed=seed + 5000, count=10)).get(timeout=600)
        group = max(1, pictures // _GROUPS)
        request = order(1, seconds, 0.0, seed=seed, count=pictures, group=group)
        job_id = render.delay(request).id
        if dies:
            while not _has_pictures(app, job_id, pictures * _DEATH_SHARE):
                time.sleep(_LOOK_AT_ALL_S)
            crew.kill("p0")
        while not app.ledger.has_result(job_id):
            time.sleep(_LOOK_S)
        end_s = time.time()
        began_s, _ = crew.begins_s(app, job_id)
        again_s = _order_again(request)
    plan, status = app.ledger.plan(job_id), app.ledger.status(job_id)
    units = [run.unit for run in read_runs(app.store, plan)]
    rate = pictures / (end_s - began_s)
    console.print(
        f"{workers} workers: {status.state}, {status.pictures_done} pictures in "
        f"{end_s - began_s:.1f} s, {rate:.2f} a second; "
        f"{len(units) - len(set(units))} of {len(set(units))} units rendered twice; "
        f"ordered again: {again_s:.1f} s"
    )
    return rate


def _order_again(request: dict[str, object]) -> float:
    """Seconds from sending an order that was rendered before to having its manifest."""
    from app.tasks import render

    sent_s = time.time()
    render.delay(request).get(timeout=600)
    return time.time() - sent_s


def _has_pictures(app: Runtime, job_id: str, count: float) -> bool:
    return app.ledger.has_plan(job_id) and app.ledger.status(job_id).pictures_done >= count


if __name__ == "__main__":
    main()
