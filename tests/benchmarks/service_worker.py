"""A real worker around a renderer that takes a given time: what is left is the queue's cost.

``python -m tests.benchmarks.service_worker SECONDS CELERY-WORKER-ARGUMENTS…``
"""

from __future__ import annotations

import sys
import time

from app.celery import celery
from app.domain.work import Stage
from tests.benchmarks.bench_queue import instant_render
from workers.renderer import Renderer


def main() -> None:
    seconds = float(sys.argv[1])

    def render(self, plan, work, check) -> bytes:  # type: ignore[no-untyped-def]
        if work.stage is Stage.TILE:
            time.sleep(seconds)
        return instant_render(self, plan, work, check)

    Renderer.render = render  # type: ignore[method-assign]
    celery.worker_main(sys.argv[2:])


if __name__ == "__main__":
    main()
