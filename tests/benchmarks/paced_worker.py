"""A real worker around a renderer that takes the time its order says: speeds can be chosen.

``PACE=SPEED python -m tests.benchmarks.paced_worker CELERY-WORKER-ARGUMENTS…``. The request's tags
say the rest: ``tile_s`` is a tile's time at speed 1, ``slow_share`` the share of runs that take
five times as long, drawn from seed, tile and worker: a second run elsewhere is another draw.
A model counts as loaded after its first unit.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from hashlib import sha256

from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, stage_model
from app.heartbeat import own_node
from tests.support.instant_renderer import InstantRenderer, install

SLOW_TIMES = 5.0
STEP_S = 0.02  # of denoising, after which a renderer looks whether it is still wanted


def tile_seconds(plan: RenderPlan, work: Work, worker: str, speed: float) -> float:
    """How long *worker* takes for the tile."""
    tags = plan.spec.tags
    slow_share = float(tags.get("slow_share", "0"))
    times = slowness(slow_share, plan.spec.seed, work.index, worker)
    return float(tags.get("tile_s", "0")) / speed * times


def slowness(slow_share: float, seed: int, index: int, worker: str) -> float:
    """How many times as long as others a run takes."""
    drawn = int.from_bytes(sha256(f"{seed} {index} {worker}".encode()).digest()[:4]) / 2**32
    return SLOW_TIMES if drawn < slow_share else 1.0


class PacedRenderer(InstantRenderer):
    """Renders as worker *name* does at *speed*."""

    def __init__(self, name: str, speed: float) -> None:
        self._name = name
        self._speed = speed
        self._warm: set[str] = set()

    def render(self, plan: RenderPlan, work: Work, check: Callable[[], None]) -> bytes:
        self._warm.add(stage_model(plan, work.stage))
        own_node().describe_models(lambda: sorted(self._warm))
        begun_s = time.monotonic()
        blob = super().render(plan, work, check)
        if work.stage is Stage.TILE:
            end_s = begun_s + tile_seconds(plan, work, self._name, self._speed)
            while (left_s := end_s - time.monotonic()) > 0:
                check()
                time.sleep(min(left_s, STEP_S))
        return blob


def main() -> None:
    name = sys.argv[sys.argv.index("-n") + 1].partition("@")[0]
    install(PacedRenderer(name, float(os.environ["PACE"])))
    celery.worker_main(sys.argv[1:])


if __name__ == "__main__":
    main()
