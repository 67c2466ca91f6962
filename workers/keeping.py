"""Storing what was rendered, recording who rendered it, and telling those who watch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.bindings import routing_word
from app.domain.plan import RenderPlan
from app.domain.work import Outcome, Run, Work, stage_model, unit_name
from app.own_node import OwnNode
from app.storage.port import BlobStore
from app.telemetry import metrics
from workers.errand import Errand

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Units that were denoised together, and their blobs; times on the clock that never goes
    back."""

    works: Sequence[Work]
    blobs: Sequence[bytes]
    taken_up_s: float
    began_s: float
    """When their models were loaded: what comes before says nothing about such units."""


class Keeper:
    """Keeps the blobs of this worker's units, and a record of each unit's run."""

    def __init__(self, store: BlobStore, node: OwnNode, device: str) -> None:
        self._store = store
        self._node = node
        self._device = device

    def keep(self, plan: RenderPlan, rendered: Rendered, errand: Errand) -> None:
        """Store all of *rendered*, then record and tell it.

        The record is of all that the worker had to do; what is told is learned, and leaves out
        the loading of models.
        """
        works = rendered.works
        for work, blob in zip(works, rendered.blobs, strict=True):
            self._put(errand, work.key(plan), blob)
        ended_s = time.monotonic()
        seconds = (ended_s - rendered.taken_up_s) / len(works)
        told_s = (ended_s - rendered.began_s) / len(works)
        started_ms = round(1000 * (time.time() - seconds * len(works)))
        worker = routing_word(errand.delivery.worker)
        for number, work in enumerate(works):  # of a batch, each is told its share of the time
            begun_ms = started_ms + round(1000 * seconds * number)
            run = Run(unit_name(plan, work), worker, begun_ms, seconds)
            self._put(errand, run.key(plan), b"")
            self._tell(plan, errand, work, told_s)

    def _put(self, errand: Errand, key: str, data: bytes) -> None:
        errand.attempt(lambda: self._store.put(key, data))

    def _tell(self, plan: RenderPlan, errand: Errand, work: Work, seconds: float) -> None:
        """Tell that *work* was rendered; how other units ended, their task tells."""
        message = errand.message
        metrics.unit_done(work.stage, stage_model(plan, work.stage), self._device, seconds)
        self._node.tell_unit(message, work, Outcome.RENDERED, seconds=seconds, device=self._device)
        log.info(
            "work.rendered",
            extra={"job_id": message.job_id, "work": work.label, "seconds": round(seconds, 3)},
        )
