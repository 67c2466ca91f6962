"""How long units take: learned from those that were rendered, kept across restarts."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from app.domain.errors import NotFoundError, PermanentError, RenderError
from app.domain.eta import Times, eta_s
from app.domain.plan import RenderPlan
from app.domain.prediction import Estimate, Predictor, Shape
from app.domain.work import Outcome, Stage, Work, stage_model
from app.live.port import Record
from app.nodes import NodeRecord
from app.scheduling.begun import Begun, begun
from app.scheduling.duration import step_s
from app.scheduling.job import OpenJob
from app.scheduling.shapes import shape_of, step_shape
from app.storage.port import BlobStore

log = logging.getLogger(__name__)
_PREFIX = "predictions/"


class Forecast:
    """Predicts units of plans; told of every finished one."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._predictor = read_predictor(store)
        self._by_node = Predictor()
        self._known: set[tuple[str, Stage, str]] = set()
        self._crew_times: dict[tuple[tuple[tuple[str, str], ...], Shape], Times] = {}
        self._is_changed = False

    def unit(self, plan: RenderPlan, work: Work, device: str = "") -> Estimate:
        """Seconds that *work* takes on *device*, or on whatever was seen."""
        return self._predictor.predict(shape_of(plan, work, device))

    def on_node(self, plan: RenderPlan, work: Work, node: str, device: str = "") -> Estimate:
        """Seconds that *work* takes on *node*; of one that has done none of its kind, any's."""
        if self.knows(plan, work, node):
            return self._by_node.predict(shape_of(plan, work, node))
        return self.unit(plan, work, device)

    def experience(self, plan: RenderPlan, work: Work, node: str, device: str) -> Estimate:
        """Seconds of units just like *work* on *node*, or on its device; infinite without any."""
        seen = self._seen(shape_of(plan, work, ""), node, device)
        return seen or Estimate(math.inf, math.inf)

    def knows(self, plan: RenderPlan, work: Work, node: str) -> bool:
        """Whether *node* has rendered units of this model and stage."""
        return (stage_model(plan, work.stage), work.stage, node) in self._known

    def has_learned(self, plan: RenderPlan, work: Work) -> bool:
        """Whether a living node has rendered units of this model and stage."""
        kind = (stage_model(plan, work.stage), work.stage)
        return any(known[:2] == kind for known in self._known)

    def left_s(self, job: OpenJob) -> float:
        """Seconds of work until every picture of *job* is there, on one worker."""
        return sum(count * self.unit(job.plan, work).mean_s for work, count in job.left())

    def eta_s(
        self, job: OpenJob, nodes: Sequence[NodeRecord], ahead_s: float, now_s: float
    ) -> float:
        """Seconds until *job* is done by *nodes* after *ahead_s* of work; infinite without any.

        Each goes at its own pace, and begins when it is done with what it has of the job.
        """
        at_work = begun(job, nodes, partial(self._on, job)) if job.flying else {}
        taken = Counter(job.like(work) for one in at_work.values() for work in one.works)
        pending = [
            (shape_of(job.plan, unit, ""), count - taken[unit]) for unit, count in job.left()
        ]
        busy_s = [at_work.get(node.node, Begun()).left_s for node in nodes]
        crew = tuple((node.node, node.device) for node in nodes)
        rendered_s = eta_s(pending, busy_s, partial(self._times, crew), ahead_s=ahead_s)
        return rendered_s + self._steps_s(job, now_s)

    def _times(self, crew: tuple[tuple[str, str], ...], shape: Shape) -> Times:
        """Of units of *shape* on each of *crew*, names of nodes and their devices.

        Asked for the same by one job after the other, and between them nothing is learned.
        """
        found = self._crew_times.get((crew, shape))
        if found is None:
            found = np.array([self._pace(shape, *node) for node in crew])
            self._crew_times[crew, shape] = found
        return found

    def _pace(self, shape: Shape, node: str, device: str) -> Estimate:
        """Of *shape* on *node*, or before it has done just that, on its device."""
        seen = self._seen(shape, node, device)
        return seen or self._predictor.predict(replace(shape, device=device))

    def _seen(self, shape: Shape, node: str, device: str) -> Estimate | None:
        """What units of just *shape* took on *node*, or on its device."""
        for predictor, where in ((self._by_node, node), (self._predictor, device)):
            there = replace(shape, device=where)
            if predictor.has_seen(there):
                return predictor.predict(there)
        return None

    def _on(self, job: OpenJob, work: Work, node: NodeRecord) -> float:
        return self._pace(shape_of(job.plan, work, ""), node.node, node.device).mean_s

    def observe(self, plan: RenderPlan, work: Work, event: Record) -> None:
        """Learn from a unit that was rendered."""
        seconds = event.get("seconds")
        if event.get("status") != Outcome.RENDERED or not isinstance(seconds, int | float):
            return
        device, node = str(event.get("device", "")), str(event.get("node", ""))
        self._crew_times.clear()
        self._predictor.observe(shape_of(plan, work, device), float(seconds))
        if node:
            # Not kept: nodes are named anew with every start, and each teaches it in a unit.
            self._by_node.observe(shape_of(plan, work, node), float(seconds))
            self._known.add((stage_model(plan, work.stage), work.stage, node))
        self._is_changed = True

    def observe_steps(self, plan: RenderPlan, seconds: Mapping[Work, float]) -> None:
        """Learn how long control workers took for steps of *plan*, as seen from here."""
        for work, took_s in seconds.items():
            self._predictor.observe(step_shape(plan, work), took_s)
            self._is_changed = True

    def forget_nodes(self, alive: Collection[str]) -> None:
        """Know only the nodes in *alive*: what others taught is forgotten as newer ones teach."""
        self._known = {entry for entry in self._known if entry[2] in alive}

    def forget(self) -> None:
        """Know what was saved last: another dispatcher has learned since."""
        self._is_changed = False
        with suppress(RenderError):  # while the store is away, older times are better than none
            self._predictor = read_predictor(self._store)
        self._by_node = Predictor()
        self._known.clear()
        self._crew_times.clear()

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

    def _steps_s(self, job: OpenJob, now_s: float) -> float:
        """Seconds for which workers will have nothing of *job*: a control worker has it."""
        steps = [
            (step_s(job.plan, work, self._predictor), count) for work, count in job.control_left()
        ]
        begun_s = min(steps[0][0], job.waited_s(now_s)) if steps else 0.0
        return sum(seconds * count for seconds, count in steps) - begun_s


def read_predictor(store: BlobStore) -> Predictor:
    """What was learned and saved; nothing where there is none, or none that can be read."""
    for key in sorted(store.keys(_PREFIX), reverse=True):
        try:
            return Predictor.from_record(json.loads(store.get(key)))
        except (NotFoundError, PermanentError, ValueError) as err:
            log.info("predictions.unreadable", extra={"key": key, "reason": str(err)})
    return Predictor()
