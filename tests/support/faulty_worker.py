"""A real worker around an instant renderer that fails at one tile of one seed.

``python -m tests.support.faulty_worker FAULT SEED INDEX CELERY-WORKER-ARGUMENTS…``
"""

from __future__ import annotations

import os
import signal
import sys

import torch

from app.celery import celery
from app.domain.work import Stage
from tests.benchmarks.bench_queue import instant_render
from workers.renderer import Renderer


def kill() -> None:
    """The worker dies as of a segmentation fault or the kernel's choice."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def context() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def nothing() -> None: ...


FAULTS = {fault.__name__: fault for fault in (kill, memory, context, nothing)}


def main() -> None:
    fault, seed, index = FAULTS[sys.argv[1]], *(int(argument) for argument in sys.argv[2:4])

    def render(self, plan, work, check) -> bytes:  # type: ignore[no-untyped-def]
        if (work.stage, work.index, plan.spec.seed) == (Stage.TILE, index, seed):
            fault()
        return instant_render(self, plan, work, check)

    def render_tiles(self, plan, works, check) -> list[bytes]:  # type: ignore[no-untyped-def]
        return [render(self, plan, work, check) for work in works]

    Renderer.render = render  # type: ignore[method-assign]
    Renderer.render_tiles = render_tiles  # type: ignore[method-assign]
    celery.worker_main(sys.argv[4:])


if __name__ == "__main__":
    main()
