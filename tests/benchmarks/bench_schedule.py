"""How well work is given out: makespans, efficiency, fairness, time to finish, all measured.

Run: ``python -m tests.benchmarks.bench_schedule [CASE …]``: 0 to 3, ``high`` and ``fair``.
Real RabbitMQ, Redis, S3, messages and blobs; a tile's work is a wait of known length. Baselines of
the same run give tiles that take each worker as long to a ``multiprocessing`` pool, to plain Celery
as it comes (four tasks prefetched, acknowledged early) and, where ``RAY_PYTHON`` names a Python
that has it, to Ray.
All are timed from the begin of the first tile to the end of the last, storing it included, over
the waits alone; the median of three runs. A shared host gives its processors to others: how much of
ours it took while we ran is printed beside.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console

from tests.benchmarks.ground import Steal, servers_in, tiny_env
from tests.benchmarks.paced_worker import slowness
from tests.benchmarks.pacing import Crew, names, predicted_error
from tests.benchmarks.rivals import Waits, makespan, plain_celery, pool, ratio, ray
from tests.support.tiny_model import build_tiny_model

EQUAL = (1.0,) * 8
UNEQUAL = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25)
_CASES = (
    # name, speeds, tiles, seconds a tile, share of slow runs
    ("64 tiles, unequal workers", UNEQUAL, 64, 1.0, 0.0),
    ("the same, 10 % of runs five times slower", UNEQUAL, 64, 1.0, 0.1),
    ("256 tiles of 100 ms, equal workers", EQUAL, 256, 0.1, 0.0),
    ("64 tiles of 1 s, equal workers", EQUAL, 64, 1.0, 0.0),
)
_PREDICTED_AFTER = 32
"""Tiles."""
_TIMES = 3
_WARMING = 36
"""Tiles of each of two orders before those that are measured."""
_HIGH_JOBS = 12
console = Console(width=120)


def main() -> None:
    wanted = set(sys.argv[1:])
    with cluster() as folder:
        names = "".join(f"{name:>8}" for name in ("ours", "pool", "celery", "ray"))
        console.print(
            f"{'makespan / lower bound':42}{names}   error of the end predicted after 32 tiles",
            soft_wrap=True,
        )
        for number, case in enumerate(_CASES):
            if not wanted or str(number) in wanted:
                _makespans(folder, number, *case)
        if not wanted or "high" in wanted:
            _high_wait(folder, 1.0, behind=500)
            _high_wait(folder, 0.1, behind=1936)
        if not wanted or "fair" in wanted:
            _fairness(folder)


@contextmanager
def cluster() -> Iterator[Path]:
    """Servers of their own and the environment that names them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_tiny_model(folder / "models" / "tiny")
        with servers_in(folder) as site:
            os.environ |= tiny_env(site, folder / "models")
            yield folder


def order(tiles: int, tile_s: float, slow_share: float, **fields: object) -> dict[str, Any]:
    """A request of *tiles* tiles in one phase.

    A tile's seconds are learned by its size and steps: tiles that take others need other *fields*.
    """
    side = round(tiles**0.5)
    tags = {"tile_s": str(tile_s), "slow_share": str(slow_share)}
    size = {"height": 64 * side, "width": 64 * side, "tile": 64, "overlap": 0}
    one_phase = {"mode": "refine", "nsr": 0.25}
    return {"prompt": "b", "tags": tags, **one_phase, **size, **fields}


def _makespans(
    folder: Path, number: int, name: str, speeds: Sequence[float], tiles: int, *times: float
) -> None:
    seeds = [10 * number + repeat for repeat in range(_TIMES)]
    runs = _ours(folder, number, speeds, tiles, seeds, *times)
    waits = [_waits(seed, speeds, tiles, *times) for seed in seeds]
    ratios = [[run.ratio for run in runs]] + [
        [
            ratio(spans, once, speeds)
            for spans, once in zip(given_out(speeds, waits), waits, strict=False)
        ]
        for given_out in (pool, plain_celery, ray)
    ]
    row = "".join(f"{median(one):8.3f}" if one else f"{'-':>8}" for one in ratios)
    errors = ", ".join(f"{run.error:+.1%}" for run in runs)
    spread = ", ".join(f"{run.ratio:.3f}" for run in runs)
    again = ", ".join(str(run.again) for run in runs)
    stolen = ", ".join(f"{run.stolen:.0%}" for run in runs)
    console.print(
        f"{name:42}{row}   {errors}; ours {spread}; second runs {again}; host took {stolen}",
        soft_wrap=True,
    )


def _waits(
    seed: int, speeds: Sequence[float], tiles: int, tile_s: float, slow_share: float
) -> Waits:
    """What each of our workers would take for each tile of the order with *seed*, at speed 1."""
    return [
        [tile_s * slowness(slow_share, seed, index, name) for index in range(tiles)]
        for name in names(speeds)
    ]


class _Ours(NamedTuple):
    """One run of a case."""

    ratio: float
    """Makespan over its lower bound."""
    error: float
    again: int
    """Tiles that were run twice."""
    stolen: float
    """Share of the processors that the host gave to others meanwhile."""


def _ours(
    folder: Path,
    number: int,
    speeds: Sequence[float],
    tiles: int,
    seeds: Sequence[int],
    *times: float,
) -> list[_Ours]:
    from app.bootstrap import runtime
    from app.tasks import render

    runs, shape = [], {"steps": 10 + number}
    with Crew(folder, speeds) as crew:
        # Workers load their code, and the dispatcher learns their times, outside the measurement;
        # after each one's first, cold units, many more.
        for seed in (1000, 2000):
            render.delay(order(_WARMING, *times, **shape, seed=seed + number)).get(timeout=600)
        app = runtime()
        for seed in seeds:
            steal = Steal()
            job_id = render.delay(order(tiles, *times, **shape, seed=seed)).id
            looks, end_s = crew.follow(app, job_id)
            spans = crew.tile_spans(app, job_id)
            over = makespan(spans) / crew.lower_bound_s(app, job_id)
            error = predicted_error(looks, end_s, spans, _PREDICTED_AFTER)
            runs.append(_Ours(over, error, len(spans) - tiles, steal.share))
    return runs


def _high_wait(folder: Path, tile_s: float, *, behind: int) -> None:
    """High jobs, one after the other, on idle workers and beside a low job that outlasts them.

    A high job ends with its tile, and often with those of other workers: the next is sent at any
    moment between two such ends.
    """
    from app.bootstrap import runtime
    from app.tasks import render

    workers, seed = 8, round(20_000 * tile_s)
    tiles = {"tile_s": tile_s, "slow_share": 0.0, "steps": round(20 * tile_s)}
    with Crew(folder, (1.0,) * workers) as crew:
        app = runtime()
        moments = random.Random(seed)

        def waits(first: int) -> str:
            found = []
            for number in range(_HIGH_JOBS):
                time.sleep(moments.uniform(0.0, tile_s))
                sent_s = time.time()
                job = render.delay(order(1, **tiles, seed=first + number, priority="high"))
                job.get(timeout=600)
                found.append([begin_s - sent_s for begin_s in crew.begins_s(app, job.id)])
            jobs, its_tiles = zip(*found, strict=True)
            return (
                f"{median(jobs):.2f} s (longest {max(jobs):.2f}), "
                f"its tile after {median(its_tiles):.2f} s ({max(its_tiles):.2f})"
            )

        render.delay(order(_WARMING, **tiles, seed=seed)).get(timeout=600)
        console.print(f"with nothing before it, a high job began after {waits(seed + 100)}")
        low = render.delay(order(behind, **tiles, seed=seed + 1, priority="low")).id
        crew.wait_for_tiles(app, low, 2 * workers)
        console.print(
            f"behind {behind} low tiles of {tile_s:g} s, it began after {waits(seed + 200)}"
        )
        if app.ledger.has_result(low):
            console.print("the low job ended first: the last of these waited for nobody")
        app.ledger.cancel(low)


def _fairness(folder: Path) -> None:
    """One tenant orders ten times what the other does, at once."""
    from app.bootstrap import runtime
    from app.domain.work import Stage
    from app.manifests import read_runs
    from app.tasks import render

    tiles = {"tile_s": 0.1, "slow_share": 0.0, "steps": 30}
    with Crew(folder, (1.0,) * 4):
        render.delay(order(64, **tiles, seed=3000)).get(timeout=600)  # times are learned
        many = [
            render.delay(order(400, **tiles, seed=number, tenant="many")) for number in range(10)
        ]
        # Long enough that slices of 32 at its begin and its end say nothing.
        one = render.delay(order(900, **tiles, seed=99, tenant="one"))
        one.get(timeout=600)
        app = runtime()
        runs = {
            result.id: [
                run
                for run in read_runs(app.store, app.ledger.plan(result.id))
                if run.stage is Stage.TILE
            ]
            for result in [*many, one]
            if app.ledger.has_plan(result.id)
        }
        own = runs.pop(one.id)
        first, last = min(run.started_ms for run in own), max(run.started_ms for run in own)
        others = sum(first <= run.started_ms <= last for found in runs.values() for run in found)
        for result in many:
            app.ledger.cancel(result.id)
    console.print(f"while one tenant got {len(own)} tiles, the one with ten jobs got {others}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
