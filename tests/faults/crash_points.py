"""Named places in workers and the control worker where a process can be made to die, or to hang.

``TILECHORD_CRASH_AT=after-put-unit:3`` kills the process by SIGKILL when it comes to that place for
the third time. A file named by ``TILECHORD_CRASH_FILE`` with the same text arms a process that
runs already; it is removed before the process dies, so that its successor lives.
``before-put-canvas:1:hang`` lets the thread that comes there hang instead, the others go on. The
product knows nothing of all this: ``install`` wraps what the test's worker is made of.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from app.storage.port import BlobStore
from tests.faults.renderer import FaultRenderer, trace

ARMED = "TILECHORD_CRASH_AT"
ARMED_FILE = "TILECHORD_CRASH_FILE"
HANG = "hang"

# What is written tells where a job stands: each of these blobs gives two places to die.
BLOBS = {
    "unit": re.compile(r"plans/.*/(base|prepared|tile-\d+|head|core-\d+)"),
    "run": re.compile(r"runs/.*"),
    "request": re.compile(r"jobs/[^/]+/request\.json"),
    "plan": re.compile(r"jobs/[^/]+/plan\.json"),
    "canvas": re.compile(r"plans/.*/canvas-\d+\.json"),
    "picture": re.compile(r"plans/.*/picture\.\w+"),
    "result": re.compile(r"jobs/[^/]+/result\.json"),
    "entry": re.compile(r"queue/.*"),
}
_STEPS = ("render", "publish", "chord-part", "ack")

_WORKER = ("put-unit", "put-run", *_STEPS)
_CONTROL = (
    *("put-request", "put-plan", "put-canvas", "put-picture", "put-result"),
    *("delete-entry", "publish", "ack"),
)


def both_sides(steps: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{side}-{step}" for step in steps for side in ("before", "after"))


WORKER_POINTS = both_sides(_WORKER)
CONTROL_POINTS = both_sides(_CONTROL)

_passed: Counter[str] = Counter()


def reach(point: str) -> None:
    """Die or hang here if this place is armed and its turn has come."""
    wanted, turn, end = [*_order().split(":"), "", ""][:3]
    if wanted != point:
        return
    _passed[point] += 1
    if _passed[point] >= int(turn or 1):
        trace(end or "crash", point=point)
        if path := os.environ.get(ARMED_FILE):
            Path(path).unlink(missing_ok=True)
        if end == HANG:
            threading.Event().wait()
        os.kill(os.getpid(), signal.SIGKILL)


def _order() -> str:
    if order := os.environ.get(ARMED):
        return order
    try:
        return Path(os.environ.get(ARMED_FILE, "")).read_text()
    except OSError:
        return ""


def around(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """*function* with a place to die before and after it."""

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        reach(f"before-{step}")
        outcome = function(*arguments, **options)
        reach(f"after-{step}")
        return outcome

    return wrapped


class CrashingStore:
    """A store whose writes are places to die."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in {"put", "put_file", "delete"}:
            return method

        def call(key: str, *arguments: Any) -> Any:
            kind = next((kind for kind, keys in BLOBS.items() if keys.fullmatch(key)), None)
            if kind is None:
                return method(key, *arguments)
            return around(f"{name.partition('_')[0]}-{kind}", method)(key, *arguments)

        return call


def install() -> None:
    """Put the places to die into this process, before it builds its runtime."""
    from celery.backends.redis import RedisBackend
    from celery.signals import after_task_publish, before_task_publish
    from celery.worker.request import Request

    from app import bootstrap

    open_store = bootstrap.open_store
    bootstrap.open_store = lambda chosen: CrashingStore(open_store(chosen))
    for owner, name, step in (
        (FaultRenderer, "render", "render"),
        (RedisBackend, "on_chord_part_return", "chord-part"),
        (Request, "acknowledge", "ack"),
    ):
        setattr(owner, name, around(step, getattr(owner, name)))
    before_task_publish.connect(_before_publish)
    after_task_publish.connect(_after_publish)


def _before_publish(**_: object) -> None:
    reach("before-publish")


def _after_publish(**_: object) -> None:
    reach("after-publish")
