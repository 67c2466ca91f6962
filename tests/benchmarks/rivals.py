"""The same tiles given out by others, on the same machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.paced_worker import SLOW_TIMES

_START_S = 400.0


def drawn(seconds: Sequence[float], slow_share: float) -> list[float]:
    """*seconds*, of which some are five times as long."""
    rng = random.Random(0)
    return [one * (SLOW_TIMES if rng.random() < slow_share else 1.0) for one in seconds]


def makespan(spans: Iterable[Sequence[float]]) -> float:
    """Seconds from the begin of the first to the end of the last of *spans*."""
    begins, ends = zip(*spans, strict=True)
    return max(ends) - min(begins)


def pool_makespans(speeds: Sequence[float], seconds: Sequence[float], times: int) -> list[float]:
    """Makespans of a ``multiprocessing`` pool with a process per speed."""
    free: Any = multiprocessing.Manager().Queue()
    for speed in speeds:
        free.put(speed)
    with multiprocessing.Pool(len(speeds), _take_speed, (free,)) as pool:
        pool.map(_sleep, [0.0] * len(speeds), chunksize=1)
        return [makespan(pool.imap_unordered(_sleep, seconds)) for _ in range(times)]


_speed = 1.0


def _take_speed(free: Any) -> None:
    global _speed
    _speed = free.get()


def _sleep(seconds: float) -> tuple[float, float]:
    began_s = time.time()
    time.sleep(seconds / _speed)
    return began_s, time.time()


def plain_celery(speeds: Sequence[float], seconds: Sequence[float], times: int) -> list[float]:
    """Makespans of Celery with its own defaults, on the same broker."""
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
    try:
        _wait_for(app, len(speeds))
        sent = ([app.send_task("plain.tile", (one,)) for one in seconds] for _ in range(times))
        return [makespan(result.get(timeout=600) for result in results) for results in sent]
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


def ray_makespans(speeds: Sequence[float], seconds: Sequence[float], times: int) -> list[float]:
    """Makespans of Ray; none where it is not installed."""
    python = os.environ.get("RAY_PYTHON")
    if python is None:
        return []
    program = Path(__file__).with_name("ray_tiles.py")
    done = subprocess.run(
        [python, program, json.dumps(speeds), json.dumps(seconds), str(times)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return [makespan(spans) for spans in json.loads(done.stdout.splitlines()[-1])]
