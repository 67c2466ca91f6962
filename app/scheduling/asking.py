"""Asking the control workers again for what nobody has answered: plans, merges, results."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from app.bootstrap import Runtime
from app.domain.errors import NotFoundError
from app.domain.work import plan_key
from app.entries import Entry
from app.nodes import NodeRecord
from app.scheduling.job import OpenJob
from app.scheduling.line import Clock, Line
from app.scheduling.publishing import Publisher

log = logging.getLogger(__name__)
T = TypeVar("T")

_PLAN_GRACE_S = 15.0
_MERGE_GRACE_S = 30.0
"""A merge that nobody has asked for, or whose worker died, is asked for after this."""
_TASK_S = 1.0
"""What a message that waits for the control workers may take. Until those before it are done, one
is late and not lost: asked for again by then, the queue would grow for good."""


class Asker:
    """Sends messages again that must be lost."""

    def __init__(self, runtime: Runtime, publisher: Publisher, clock: Clock, line: Line) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._clock = clock
        self._line = line
        self._seen_s: dict[tuple[str, int | str], float] = {}
        """When a living worker was last seen at a job's image, or at a step that concerns all."""

    def see(self, nodes: Iterable[NodeRecord]) -> None:
        """Take in what living workers are at: nobody else need be asked for it.

        A second one would do the same, or hang in it as well.
        """
        now_s = self._clock.monotonic()
        steps = [node.step for node in nodes if node.step is not None and not node.is_lost]
        fresh = {key: at_s for key, at_s in self._seen_s.items() if now_s - at_s < _MERGE_GRACE_S}
        self._seen_s = fresh | {
            (step.job_id, step.label if step.image is None else step.image): now_s for step in steps
        }

    def ask_for_plans(self, unplanned: Sequence[Entry]) -> None:
        """Ask for plans of jobs in line that have none."""
        waits = [
            (entry, min(self._line.unplanned_s(entry.job_id), self._unseen_s(entry.job_id, "plan")))
            for entry in unplanned
        ]
        overdue = self._overdue(waits, _PLAN_GRACE_S)
        entries = {entry.job_id: entry for entry in overdue}
        self._line.each(entries, lambda job_id: self._ask_for_plan(entries[job_id]))

    def ask_for_merges(self) -> None:
        """Ask for merges that no callback has asked for, and for results."""
        now_s = self._clock.monotonic()
        waits = [
            (
                (job, image),
                min(wait_s, self._unseen_s(job.entry.job_id, "result" if image is None else image)),
            )
            for job in self._line
            for (job, image), wait_s in _waits(job, now_s)
        ]
        asked: dict[str, list[tuple[OpenJob, int | None]]] = defaultdict(list)
        for job, image in self._overdue(waits, _MERGE_GRACE_S):
            asked[job.entry.job_id].append((job, image))
        self._line.each(asked, lambda job_id: self._ask_for_merges_of(asked[job_id]))

    def _unseen_s(self, job_id: str, at: int | str) -> float:
        """How long no worker has been seen at an image, or at the step *at*."""
        return self._clock.monotonic() - self._seen_s.get((job_id, at), float("-inf"))

    def _overdue(self, waits: Sequence[tuple[T, float]], grace_s: float) -> list[T]:
        """What has waited too long; only when that is in doubt, the broker is asked for more."""
        late = [(one, wait_s) for one, wait_s in waits if wait_s >= grace_s]
        if not late:
            return []
        limit_s = grace_s + self._publisher.control_backlog() * _TASK_S
        return [one for one, wait_s in late if wait_s >= limit_s]

    def _ask_for_merges_of(self, waiting: Sequence[tuple[OpenJob, int | None]]) -> None:
        for job, image in waiting:
            images = None if image is None else [image]
            # The task does nothing where the plan was lost, and no worker may ask for it any more.
            self._runtime.store.put(plan_key(job.plan.hash), job.plan.to_json())
            self._publisher.send_advance(job.entry.job_id, self._line.level(job), images)
            job.asked_s[image] = self._clock.monotonic()

    def _ask_for_plan(self, entry: Entry) -> None:
        ledger = self._runtime.ledger
        if ledger.has_plan(entry.job_id):
            self._line.tell(entry.job_id)  # to be looked at, and served
            return
        keys = self._runtime.entries.keys(entry.job_id)
        try:
            request = ledger.request(entry.job_id)
        except NotFoundError:  # withdrawn between two steps; who orders it anew is not among these
            self._runtime.entries.remove(keys)
            return
        log.info("plan.sent_again", extra={"job_id": entry.job_id})
        payload = request.model_dump(mode="json", exclude_unset=True)
        self._publisher.send_plan(entry.job_id, payload, entry.priority)
        self._line.sent_again(entry.job_id)


def _waits(job: OpenJob, now_s: float) -> Iterable[tuple[tuple[OpenJob, int | None], float]]:
    """Images of *job* that wait for the control worker, or all (``None``), and for how long."""
    never = float("-inf")
    if job.is_complete:
        yield (job, None), now_s - job.asked_s.get(None, never)
    for image, since_s in job.control_since.items():
        yield (job, image), now_s - max(since_s, job.asked_s.get(image, never))
