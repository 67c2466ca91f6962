"""One unit of work from message to blob: skipped when done, recorded when it ran."""

from __future__ import annotations

import logging
import threading
import time
from functools import lru_cache

from app.domain.errors import PermanentError, RenderCancelledError, RenderError
from app.domain.plan import RenderPlan
from app.domain.work import Run, Stage, Work, plan_key, unit_name
from app.jobs import JobLedger
from app.queues import routing_word
from app.schemas import WorkMessage, read_plan
from app.storage.port import BlobStore
from app.telemetry import metrics
from workers.renderer import Renderer

log = logging.getLogger(__name__)
_WATCH_PERIOD_S = 0.5


class JobWatch:
    """Notices that a job has ended without its result; asks the store twice a second at most."""

    def __init__(self, ledger: JobLedger) -> None:
        self._ledger = ledger
        self._alive: tuple[str, float] | None = None

    def check(self, job_id: str) -> None:
        """Raises ``RenderCancelledError`` once the job is cancelled or another unit failed."""
        now = time.monotonic()
        if self._alive and self._alive[0] == job_id and now - self._alive[1] < _WATCH_PERIOD_S:
            return
        if self._ledger.is_cancelled(job_id):
            raise RenderCancelledError(f"job {job_id} was cancelled")
        if self._ledger.failure(job_id) is not None:
            raise RenderCancelledError(f"job {job_id} has failed")
        self._alive = (job_id, now)


class Executor:
    """Executes messages, one at a time: model and device are shared."""

    def __init__(
        self, store: BlobStore, ledger: JobLedger, renderer: Renderer, device: str
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._renderer = renderer
        self._device = device
        self._watch = JobWatch(ledger)
        self._lock = threading.Lock()
        self._plan = lru_cache(maxsize=8)(self._read_plan)

    def execute(self, message: WorkMessage, worker: str) -> dict[str, str]:
        """Render *message*'s unit unless its blob exists; the result is its key and a status.

        An expected failure is recorded and reported, not raised: one raising member would
        discard the chord's callback, and with it the reason.
        """
        key = ""
        try:
            plan = self._plan(message.plan_hash)
            key = message.work.key(plan)
            if self._store.exists(key):
                metrics.unit_present(message.stage)
                return {"key": key, "status": "present"}
            self._watch.check(message.job_id)
            with self._lock:
                self._render(plan, message, worker)
        except RenderCancelledError:
            return {"key": key, "status": "abandoned"}
        except PermanentError as err:
            self.fail(message, err)
            return {"key": key, "status": "failed"}
        return {"key": key, "status": "rendered"}

    def fail(self, message: WorkMessage, error: Exception) -> None:
        """Record that *message* cannot be rendered; the job ends with this reason."""
        reason = str(error) if isinstance(error, RenderError) else f"internal error: {error!r}"
        metrics.work_failed(message.stage, error)
        fields = {"job_id": message.job_id, "work": message.work.label, "reason": reason}
        log.info("work.failed", extra=fields)
        self._ledger.fail(message.job_id, f"{message.work.label}: {reason}")

    def _render(self, plan: RenderPlan, message: WorkMessage, worker: str) -> None:
        work, started_ms, start = message.work, round(time.time() * 1000), time.monotonic()
        data = self._renderer.render(plan, work, lambda: self._watch.check(message.job_id))
        self._store.put(work.key(plan), data)
        seconds = time.monotonic() - start
        run = Run(unit_name(plan, work), routing_word(worker), started_ms, seconds)
        self._store.put(run.key(plan), b"")
        metrics.unit_done(work.stage, _model(plan, work), self._device, seconds)
        log.info(
            "work.rendered",
            extra={"job_id": message.job_id, "work": work.label, "seconds": round(seconds, 3)},
        )

    def _read_plan(self, plan_hash: str) -> RenderPlan:
        return read_plan(self._store.get(plan_key(plan_hash)))


def _model(plan: RenderPlan, work: Work) -> str:
    return plan.spec.base_model if work.stage is Stage.BASE else plan.spec.refine_model
