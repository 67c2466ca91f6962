"""Workers of chosen speeds, and what was seen of their work."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from app.bootstrap import Runtime
from app.cli.serving import celery_arguments
from app.client import schedule
from app.domain.work import Run, Stage, Work
from app.manifests import read_runs
from tests.benchmarks.paced_worker import tile_seconds
from tests.support.waiting import wait_until_ready

_START_S = 400.0
_LOOK_S = 0.25


def names(speeds: Sequence[float]) -> list[str]:
    """What the workers of *speeds* are called."""
    return [f"p{number}" for number in range(len(speeds))]


class Crew:
    """A control worker and one paced worker for each speed, while the block lasts."""

    def __init__(self, folder: Path, speeds: Sequence[float]) -> None:
        self._folder = folder
        self._speeds = dict(zip(names(speeds), speeds, strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        logs = [self._begin("control", "control", 1.0)]
        logs += [self._begin(name, "gpu", speed) for name, speed in self._speeds.items()]
        try:
            for log, process in zip(logs, self._processes.values(), strict=True):
                wait_until_ready(log, process, limit_s=_START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._processes:
            self.kill(name)

    def kill(self, name: str) -> None:
        """End ``control`` or worker ``p0``, ``p1`` … at once."""
        self._processes[name].kill()
        self._processes[name].wait()

    def follow(self, app: Runtime, job_id: str) -> tuple[list[tuple[float, float]], float]:
        """When the dispatcher was asked and the end it predicted then, and when the job ended."""
        looks = []
        while not app.ledger.has_result(job_id):
            now_s, told = time.time(), schedule(job_id)
            if told is not None and told.eta_s is not None:
                looks.append((now_s, now_s + told.eta_s))
            time.sleep(_LOOK_S)
        return looks, time.time()

    def wait_for_tiles(self, app: Runtime, job_id: str, count: int) -> None:
        """Wait until *count* of the job's tiles are rendered."""
        while not app.ledger.has_plan(job_id) or len(self.tile_spans(app, job_id)) < count:
            time.sleep(_LOOK_S)

    def begins_s(self, app: Runtime, job_id: str) -> tuple[float, float]:
        """When the job's first unit was begun, and its first tile, in seconds of the epoch."""
        runs = read_runs(app.store, app.ledger.plan(job_id))
        tiles = [run.started_ms for run in runs if run.stage is Stage.TILE]
        return min(run.started_ms for run in runs) / 1000, min(tiles) / 1000

    def tile_spans(self, app: Runtime, job_id: str) -> list[tuple[float, float]]:
        """Start and end of every run of a tile, in seconds of the epoch."""
        return [
            (run.started_ms / 1000, run.started_ms / 1000 + run.seconds)
            for run in self._tile_runs(app, job_id)
        ]

    def lower_bound_s(self, app: Runtime, job_id: str) -> float:
        """The waits of every tile's first run, at speed 1, over the sum of all speeds."""
        plan, first = app.ledger.plan(job_id), dict[str, float]()
        for run in self._tile_runs(app, job_id):
            work = Work(Stage.TILE, 0, 0, int(run.unit.rpartition("-")[2]))
            worker = run.worker.partition("-")[0]
            first.setdefault(run.unit, tile_seconds(plan, work, worker, speed=1.0))
        return sum(first.values()) / sum(self._speeds.values())

    def _tile_runs(self, app: Runtime, job_id: str) -> list[Run]:
        runs = read_runs(app.store, app.ledger.plan(job_id))
        return [run for run in runs if run.stage is Stage.TILE]

    def _begin(self, name: str, pool: str, speed: float) -> Path:
        log = self._folder / f"{name}-{time.monotonic_ns()}.log"
        arguments = celery_arguments([pool], name)  # as "tilechord worker" has them
        command = [sys.executable, "-m", "tests.benchmarks.paced_worker"]
        with log.open("wb") as file:
            self._processes[name] = subprocess.Popen(
                [*command, *arguments[arguments.index("worker") :]],
                env=os.environ | {"PACE": str(speed), "TILECHORD_THREADS": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return log


def predicted_error(
    looks: Sequence[tuple[float, float]],
    end_s: float,
    spans: Sequence[tuple[float, float]],
    tiles: int,
) -> float:
    """How far off the job's end was that was predicted when *tiles* were done, as a share of the
    whole; NaN where none was told."""
    begin_s = min(start for start, _ in spans)
    then_s = sorted(end for _, end in spans)[tiles - 1]
    predicted_s = next((end for at_s, end in looks if at_s >= then_s + 1.0), None)
    return math.nan if predicted_s is None else (predicted_s - end_s) / (end_s - begin_s)
