"""The same tiles given out by others, on the same machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

_START_S = 400.0
Waits: TypeAlias = Sequence[Sequence[float]]
"""What each worker would take for each tile, in seconds at speed 1."""
Span: TypeAlias = tuple[int, int, float, float]
"""The number of a worker, that of the tile it ran, begin and end in seconds of the epoch."""


def makespan(spans: Iterable[Sequence[float]]) -> float:
    """Seconds from the begin of the first to the end of the last of *spans*."""
    begins, ends = zip(*spans, strict=True)
    return max(ends) - min(begins)


def ratio(spans: Sequence[Span], waits: Waits, speeds: Sequence[float]) -> float:
    """Makespan over its lower bound: all waits at speed 1 over the sum of *speeds*."""
    bound_s = sum(waits[worker][tile] for worker, tile, *_ in spans) / sum(speeds)
    return makespan(times for _, _, *times in spans) / bound_s


def pool(speeds: Sequence[float], repeats: Sequence[Waits]) -> Iterator[Sequence[Span]]:
    """What a ``multiprocessing`` pool with a process per speed does, once for each of *repeats*."""
    free: Any = multiprocessing.Manager().Queue()
    for number in range(len(speeds)):
        free.put(number)
    with multiprocessing.Pool(len(speeds), _take_place, (free, speeds, repeats)) as processes:
        for number, waits in enumerate(repeats):
            tiles = [(number, tile) for tile in range(len(waits[0]))]
            yield list(processes.imap_unordered(_wait, tiles))


_place: tuple[int, Sequence[float], Sequence[Waits]]
"""This process's number, and what all have been given."""


def _take_place(free: Any, speeds: Sequence[float], repeats: Sequence[Waits]) -> None:
    global _place
    _place = free.get(), speeds, repeats


def _wait(tile: tuple[int, int]) -> Span:
    worker, speeds, repeats = _place
    repeat, index = tile
    began_s = time.time()
    time.sleep(repeats[repeat][worker][index] / speeds[worker])
    return worker, index, began_s, time.time()


def plain_celery(speeds: Sequence[float], repeats: Sequence[Waits]) -> Iterator[Sequence[Span]]:
    """What Celery with its own defaults does, on the same broker."""
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
            env=env | {"PLAIN_WORKER": json.dumps([number, speed, _of(number, repeats)])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number, speed in enumerate(speeds)
    ]
    try:
        _wait_for(app, len(speeds))
        for number, waits in enumerate(repeats):
            sent = [app.send_task("plain.tile", (number, tile)) for tile in range(len(waits[0]))]
            yield [result.get(timeout=600) for result in sent]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        app.close()


def _of(worker: int, repeats: Sequence[Waits]) -> list[Sequence[float]]:
    return [waits[worker] for waits in repeats]


def _wait_for(app: Any, count: int) -> None:
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        with suppress(OSError):
            if len(app.control.ping(timeout=1.0)) >= count:
                return
    raise RuntimeError("plain Celery workers did not start")


def ray(speeds: Sequence[float], repeats: Sequence[Waits]) -> Iterator[Sequence[Span]]:
    """What Ray does; nothing where it is not installed."""
    python = os.environ.get("RAY_PYTHON")
    if python is None:
        return
    program = Path(__file__).with_name("ray_tiles.py")
    done = subprocess.run(
        [python, program, json.dumps(speeds)],
        input=json.dumps(repeats),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    yield from json.loads(done.stdout.splitlines()[-1])
