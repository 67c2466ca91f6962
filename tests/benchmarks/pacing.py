"""Workers of chosen speeds, and the same tiles given out by others."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from app.bootstrap import Runtime
from app.domain.work import Run, Stage
from app.merging import read_runs
from tests.benchmarks.paced_worker import SLOW_TIMES

_START_S = 180.0


class Crew:
    """A control worker and one paced worker for each speed, while the block lasts."""

    def __init__(self, folder: Path, speeds: Sequence[float]) -> None:
        self._folder = folder
        self._speeds = {f"p{number}": speed for number, speed in enumerate(speeds)}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        logs = [self._begin("control", "control", 1.0)]
        logs += [self._begin(name, "gpu", speed) for name, speed in self._speeds.items()]
        end_s = time.monotonic() + _START_S
        while any(b" ready." not in log.read_bytes() for log in logs):
            if time.monotonic() > end_s or any(one.poll() is not None for one in self._processes):
                raise RuntimeError("a paced worker did not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def tile_spans(self, app: Runtime, job_id: str) -> list[tuple[float, float]]:
        """Start and end of every run of a tile, in seconds of the epoch."""
        return [
            (run.started_ms / 1000, run.started_ms / 1000 + run.seconds)
            for run in self._tile_runs(app, job_id)
        ]

    def lower_bound_s(self, app: Runtime, job_id: str) -> float:
        """The work of every tile's first run, at speed 1, over the sum of all speeds."""
        first: dict[str, float] = {}
        for run in self._tile_runs(app, job_id):
            first.setdefault(run.unit, run.seconds * self._speeds[run.worker.partition("-")[0]])
        return sum(first.values()) / sum(self._speeds.values())

    def _tile_runs(self, app: Runtime, job_id: str) -> list[Run]:
        runs = read_runs(app.store, app.ledger.plan(job_id))
        return [run for run in runs if run.stage is Stage.TILE]

    def _begin(self, name: str, pool: str, speed: float) -> Path:
        log = self._folder / f"{name}-{time.monotonic_ns()}.log"
        include = ["--include", "workers.tasks"] if pool == "gpu" else []
        options = ["-P", "threads", "-c", "1", "-Q", f"render.{pool}.v1", "-n", f"{name}@%h"]
        command = [sys.executable, "-m", "tests.benchmarks.paced_worker", "worker"]
        with log.open("wb") as file:
            self._processes.append(
                subprocess.Popen(
                    [*command, *options, *include, "--without-gossip", "-l", "INFO"],
                    env=os.environ | {"PACE": str(speed), "TILECHORD_THREADS": "1"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        return log


def pool_makespan(speeds: Sequence[float], seconds: Sequence[float], slow_share: float) -> float:
    """Seconds that a ``multiprocessing`` pool with a process per speed takes for the tiles."""
    free: Any = multiprocessing.Manager().Queue()
    for speed in speeds:
        free.put(speed)
    rng = random.Random(0)
    times = [one * (SLOW_TIMES if rng.random() < slow_share else 1.0) for one in seconds]
    with multiprocessing.Pool(len(speeds), _take_speed, (free,)) as pool:
        pool.map(_sleep, [0.0] * len(speeds), chunksize=1)
        start = time.perf_counter()
        for _ in pool.imap_unordered(_sleep, times):
            pass
        return time.perf_counter() - start


_speed = 1.0


def _take_speed(free: Any) -> None:
    global _speed
    _speed = free.get()


def _sleep(seconds: float) -> None:
    time.sleep(seconds / _speed)


def plain_celery(
    folder: Path, speeds: Sequence[float], seconds: Sequence[float], slow_share: float
) -> float:
    """Seconds that Celery takes for the tiles with its own defaults, on the same broker."""
    from celery import Celery

    app = Celery("plain", broker=os.environ["TILECHORD_BROKER_URL"])
    app.conf.result_backend = os.environ["TILECHORD_RESULT_BACKEND"]
    app.conf.task_default_queue = f"plain-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "celery", "-A", "tests.benchmarks.plain_tasks", "worker"]
    command += ["-P", "threads", "-c", "1", "-l", "ERROR"]
    env = os.environ | {"PLAIN_QUEUE": app.conf.task_default_queue}
    processes = [
        subprocess.Popen(
            [*command, "-n", f"plain{number}@%h"],
            env=env | {"PACE": str(speed)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number, speed in enumerate(speeds)
    ]
    rng = random.Random(0)
    times = [one * (SLOW_TIMES if rng.random() < slow_share else 1.0) for one in seconds]
    try:
        _wait_for(app, len(speeds))
        start = time.perf_counter()
        results = [app.send_task("plain.tile", (one,)) for one in times]
        for result in results:
            result.get(timeout=600)
        return time.perf_counter() - start
    finally:
        for process in processes:
            process.kill()
            process.wait()
        app.close()


def _wait_for(app: Any, count: int) -> None:
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        with suppress(OSError):
            if len(app.control.ping(timeout=1.0)) >= count:
                return
    raise RuntimeError("plain Celery workers did not start")
