"""A real worker around an instant renderer that fails at one tile of one seed.

``python -m tests.support.faulty_worker FAULT SEED INDEX CELERY-WORKER-ARGUMENTS…``
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from app.celery import celery
from app.domain.errors import ModelError
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from tests.support.instant_renderer import InstantRenderer, install
from workers import watch

_SPARE_BYTES = 256 * 2**20
_STEP_S = 0.02
Check = Callable[[], None]
"""Raises when the unit's job is not wanted any more."""


def kill(_check: Check) -> None:
    """The worker dies as of a segmentation fault or the kernel's choice."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory(_check: Check) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def limit(_check: Check) -> None:
    """The kernel gives no more memory, as in a container or under ``ulimit -v``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + _SPARE_BYTES, hard))
    try:
        torch.zeros(4 * _SPARE_BYTES, dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def context(_check: Check) -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def broken(_check: Check) -> None:
    raise ModelError("the model cannot do this one")


def endless(check: Check) -> None:
    """It goes on until its job is not wanted."""
    while True:
        check()
        time.sleep(_STEP_S)


def nothing(_check: Check) -> None: ...


FAULTS = {
    fault.__name__: fault for fault in (kill, memory, limit, context, broken, endless, nothing)
}


class FaultyRenderer(InstantRenderer):
    """Meets *fault* at tile *index* of the picture of *seed*."""

    def __init__(self, fault: Callable[[Check], None], seed: int, index: int) -> None:
        self._fault = fault
        self._place = (Stage.TILE, index, seed)

    def render(self, plan: RenderPlan, work: Work, check: Check) -> bytes:
        if (work.stage, work.index, plan.spec.seed) == self._place:
            self._fault(check)
        return super().render(plan, work, check)


def main() -> None:
    fault, seed, index = sys.argv[1:4]
    watch._WATCH_PERIOD_S = math.inf  # who is told nothing never hears that a job is over
    install(FaultyRenderer(FAULTS[fault], int(seed), int(index)))
    celery.worker_main(sys.argv[4:])


if __name__ == "__main__":
    main()
