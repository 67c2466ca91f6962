"""A real worker around a renderer that takes a given time: what is left is the queue's cost.

``python -m tests.benchmarks.service_worker SECONDS CELERY-WORKER-ARGUMENTS…``. Its tiles are noise,
which no compression makes smaller. At each of them the processor time that the process has used is
added to the file that ``CPU_LOG`` names.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from app.pictures.codecs import encode_array
from tests.support.instant_renderer import InstantRenderer, install


class ServiceRenderer(InstantRenderer):
    """Takes *seconds* for a tile."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def render(self, plan: RenderPlan, work: Work, check: Callable[[], None]) -> bytes:
        if work.stage is not Stage.TILE:
            return super().render(plan, work, check)
        time.sleep(self._seconds)
        with Path(os.environ.get("CPU_LOG", os.devnull)).open("a") as log:
            log.write(f"{time.process_time()}\n")
        return noise(plan, work)


def noise(plan: RenderPlan, work: Work) -> bytes:
    """The blob of a tile, as large as one that was rendered."""
    box = plan.phases[work.phase].grid.tile(work.index)
    return encode_array(_drawn(plan.latent_channels, box.height, box.width))


@lru_cache(maxsize=1)
def _drawn(*shape: int) -> NDArray[np.float32]:
    """Drawn once: to draw is to render, which costs nothing here."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def main() -> None:
    install(ServiceRenderer(float(sys.argv[1])))
    celery.worker_main(sys.argv[2:])


if __name__ == "__main__":
    main()
