"""How long units take: learned from those that were rendered, kept across restarts."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from app.domain.errors import NotFoundError, PermanentError
from app.domain.plan import RenderPlan
from app.domain.prediction import Estimate, Predictor, Shape
from app.domain.work import WORKER_STAGES, Stage, Work, image_work
from app.live.port import Record
from app.scheduling.job import OpenJob
from app.storage.port import BlobStore
from app.workflow import stage_model

log = logging.getLogger(__name__)
_PREFIX = "predictions/"
_GUESS_S = 1.0  # of a unit whose like was never rendered here


class Forecast:
    """Predicts units of plans; told of every finished one."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._predictor = _read(store)
        self._is_changed = False

    def unit(self, plan: RenderPlan, work: Work, device: str = "") -> Estimate:
        """Seconds that *work* takes on *device*, or on whatever was seen."""
        return self._predictor.predict(shape_of(plan, work, device), guess_s=_GUESS_S)

    def left_s(self, job: OpenJob) -> float:
        """Seconds of work until every picture of *job* is there, on one worker."""
        plan = job.plan
        whole_s = sum(self._group_s(plan, group) for group in image_work(plan, 0))
        return whole_s * job.unopened + sum(
            self._group_s(plan, group) for group in job.groups_left()
        )

    def _group_s(self, plan: RenderPlan, group: Sequence[Work]) -> float:
        """Members of a group are much alike: the first one stands for all."""
        if not group or group[0].stage not in WORKER_STAGES:
            return 0.0
        return len(group) * self.unit(plan, group[0]).mean_s

    def observe(self, plan: RenderPlan, work: Work, event: Record) -> None:
        """Learn from a unit that was rendered."""
        seconds = event.get("seconds")
        if event.get("status") != "rendered" or not isinstance(seconds, int | float):
            return
        self._predictor.observe(shape_of(plan, work, str(event.get("device", ""))), float(seconds))
        self._is_changed = True

    def save(self, now_ms: int) -> None:
        """Keep what was learned; blobs are written once, so a newer one replaces the older."""
        if not self._is_changed:
            return
        record = json.dumps(self._predictor.to_record()).encode()
        older = list(self._store.keys(_PREFIX))
        self._store.put(f"{_PREFIX}{now_ms}.json", record)
        for key in older:
            self._store.delete(key)
        self._is_changed = False


def shape_of(plan: RenderPlan, work: Work, device: str) -> Shape:
    """What decides how long *work* takes."""
    match work.stage:
        case Stage.TILE:
            phase = plan.phases[work.phase]
            area = phase.tiles[work.index].area * len(phase.steps)
        case Stage.CORE:
            area = plan.decode.cores[work.index].area * plan.spec.upscale**2
        case Stage.BASE if plan.base is not None:
            area = plan.base.height * plan.base.width * len(plan.base.steps)
        case _:
            area = plan.canvas.height * plan.canvas.width
    return Shape(stage_model(plan, work.stage), str(work.stage), area, device)


def _read(store: BlobStore) -> Predictor:
    for key in sorted(store.keys(_PREFIX), reverse=True):
        try:
            return Predictor.from_record(json.loads(store.get(key)))
        except (NotFoundError, PermanentError, ValueError) as err:
            log.info("predictions.unreadable", extra={"key": key, "reason": str(err)})
    return Predictor()
