"""A real worker around an instant renderer that fails at one tile of one seed.

``python -m tests.support.faulty_worker FAULT SEED INDEX CELERY-WORKER-ARGUMENTS…``
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import torch

from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from tests.support.instant_renderer import InstantRenderer, install


def kill() -> None:
    """The worker dies as of a segmentation fault or the kernel's choice."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def context() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def nothing() -> None: ...


FAULTS = {fault.__name__: fault for fault in (kill, memory, context, nothing)}


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
