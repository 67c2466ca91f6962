"""A real worker around an instant renderer that fails at one tile of one seed.

``python -m tests.support.faulty_worker FAULT SEED INDEX CELERY-WORKER-ARGUMENTS…``
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from tests.support.instant_renderer import InstantRenderer, install

_SPARE_BYTES = 256 * 2**20


def kill() -> None:
    """The worker dies as of a segmentation fault or the kernel's choice."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def limit() -> None:
    """The kernel gives no more memory, as in a container or under ``ulimit -v``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + _SPARE_BYTES, hard))
    try:
        torch.zeros(4 * _SPARE_BYTES, dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def context() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def nothing() -> None: ...


FAULTS = {fault.__name__: fault for fault in (kill, memory, limit, context, nothing)}


class FaultyRenderer(InstantRenderer):
    """Meets *fault* at tile *index* of the picture of *seed*."""

    def __init__(self, fault: Callable[[], None], seed: int, index: int) -> None:
        self._fault = fault
        self._place = (Stage.TILE, index, seed)

    def render(self, plan: RenderPlan, work: Work, check: Callable[[], None]) -> bytes:
        if (work.stage, work.index, plan.spec.seed) == self._place:
            self._fault()
        return super().render(plan, work, check)


def main() -> None:
    fault, seed, index = sys.argv[1:4]
    install(FaultyRenderer(FAULTS[fault], int(seed), int(index)))
    celery.worker_main(sys.argv[4:])


if __name__ == "__main__":
    main()
