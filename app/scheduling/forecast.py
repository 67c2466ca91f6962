"""How long units take: learned from those that were rendered, kept across restarts."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter

from app.domain.errors import NotFoundError, PermanentError
from app.domain.eta import Worker, eta_s
from app.domain.plan import RenderPlan
from app.domain.prediction import Estimate, Predictor, Shape
from app.domain.work import Outcome, Work, stage_model
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
        self._known: set[tuple[str, str, str]] = set()
        self._is_changed = False

    def unit(self, plan: RenderPlan, work: Work, device: str = "") -> Estimate:
        """Seconds that *work* takes on *device*, or on whatever was seen."""
        return self._predictor.predict(shape_of(plan, work, device))

    def on_node(self, plan: RenderPlan, work: Work, node: str, device: str = "") -> Estimate:
        """Seconds that *work* takes on *node*; of one that has done none of its kind, any's."""
        return self._of(shape_of(plan, work, device), node, device)

    def experience(self, plan: RenderPlan, work: Work, node: str, device: str) -> Estimate:
        """Seconds of units just like *work* on *node*, or on its device; infinite without any."""
        for predictor, where in ((self._by_node, node), (self._predictor, device)):
            shape = shape_of(plan, work, where)
            if predictor.has_seen(shape):
                return predictor.predict(shape)
        return Estimate(math.inf, math.inf)

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

        Nodes of one device are told apart where the job is rendered: what they have of it, and
        how fast each of them is. Of jobs that wait it does not matter who is who.
        """
        at_work = begun(job, nodes, partial(self._on, job)) if job.flying else {}
        taken = Counter(job.like(work) for one in at_work.values() for work in one.works)
        pending = [
            (shape_of(job.plan, unit, ""), count - taken[unit]) for unit, count in job.left()
        ]
        kind_of = attrgetter("node" if job.flying else "device")
        devices = {kind_of(node): node.device for node in nodes}
        workers = [Worker(kind_of(node), at_work.get(node.node, Begun()).left_s) for node in nodes]

        def on(shape: Shape, kind: str) -> Estimate:
            return self._of(shape, kind, devices[kind])

        return eta_s(pending, workers, on, ahead_s=ahead_s) + self._steps_s(job, now_s)

    def _of(self, shape: Shape, node: str, device: str) -> Estimate:
        """Seconds on *node*; of one that has done none of its kind, what its device takes."""
        if (shape.model, shape.stage, node) in self._known:
            return self._by_node.predict(replace(shape, device=node))
        return self._predictor.predict(replace(shape, device=device))

    def _on(self, job: OpenJob, work: Work, node: NodeRecord) -> float:
        return self.on_node(job.plan, work, node.node, node.device).mean_s

    def observe(self, plan: RenderPlan, work: Work, event: Record) -> None:
        """Learn from a unit that was rendered."""
        seconds = event.get("seconds")
        if event.get("status") != Outcome.RENDERED or not isinstance(seconds, int | float):
            return
        device, node = str(event.get("device", "")), str(event.get("node", ""))
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
