"""A real worker around a renderer that takes a given time: what is left is the queue's cost.

``python -m tests.benchmarks.service_worker SECONDS CELERY-WORKER-ARGUMENTS…``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from tests.support.instant_renderer import InstantRenderer, install


class ServiceRenderer(InstantRenderer):
    """Takes *seconds* for a tile."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def render(self, plan: RenderPlan, work: Work, check: Callable[[], None]) -> bytes:
        if work.stage is Stage.TILE:
            time.sleep(self._seconds)
        return super().render(plan, work, check)


def main() -> None:
    install(ServiceRenderer(float(sys.argv[1])))
    celery.worker_main(sys.argv[2:])


if __name__ == "__main__":
    main()
