"""What all control tasks share: what becomes of a job whose step fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Task
from celery.exceptions import Reject

from app import workflow
from app.attempts import Step
from app.bootstrap import runtime
from app.delivery import hand_back, is_redelivered
from app.domain.errors import RenderError, TransientError, is_outage
from app.domain.work import Work
from app.outcomes import announce, settle
from app.patience import Patience, WorkerStoppingError
from app.schemas import Manifest, RenderRequest
from app.tasks.again import watching
from app.telemetry import metrics

log = logging.getLogger(__name__)
T = TypeVar("T")


def plan_job(
    task: Task[..., Any], job_id: str, request: Callable[[], RenderRequest]
) -> Manifest | None:
    """Plan the job unless it was withdrawn or has ended; its result if that is there already."""
    app, watched = runtime(), _watched(task, job_id)

    def plan() -> Manifest | None:
        # One in line is wanted, whatever the mark of a client says that died while it took it back.
        is_refused = app.ledger.is_withdrawn(job_id) and app.entries.find(job_id) is None
        if is_refused or settle(app, job_id):
            return None
        with watched(Step(job_id, "plan", "plan")):
            manifest = workflow.start(app, job_id, request())
        if manifest is None:
            announce(app, {"kind": "job", "job_id": job_id})
        else:
            settle(app, job_id)
        return manifest

    return _patiently(task, job_id, plan)


def move_on(task: Task[..., Any], job_id: str, images: list[int] | None) -> None:
    """Do the control worker's part of the job, and say that it was done."""
    app, watched = runtime(), _watched(task, job_id)

    def advance() -> None:
        done: list[Work] = []
        result = workflow.advance(app, job_id, images, watched=watched, note=done.append)
        if result is not None:
            settle(app, job_id)
            return
        told = [[work.stage, work.image, work.phase] for work in done]
        announce(app, {"kind": "job", "job_id": job_id, "images": images, "done": told})

    _patiently(task, job_id, advance)


def _watched(task: Task[..., Any], job_id: str) -> workflow.Watched:
    patience = Patience.of(runtime().settings)
    return watching(job_id, patience, is_again=is_redelivered(task))


def _patiently(task: Task[..., Any], job_id: str, step: Callable[[], T]) -> T:
    """What *step* returns, after as many attempts as it needs and may have.

    A failure for good ends the job: recorded in the store before it reaches the client. While the
    store is away nothing has failed, and nothing could be recorded: the message is handed back.
    """

    name = metrics.stage_of(task.name)  # as a failure is counted, which Celery tells

    def note(error: TransientError) -> None:
        metrics.work_retried(name, error)
        log.info("step.retried", extra={"job_id": job_id, "step": name, "reason": str(error)})

    chosen = runtime().settings
    try:
        return Patience.of(chosen).attempt(step, note=note)
    except WorkerStoppingError as err:
        raise Reject(str(err), requeue=True) from err
    except RenderError as err:
        if is_outage(err) and not chosen.is_embedded:
            hand_back(task, err, chosen)
        try:
            _end(job_id, str(err))
        except TransientError as unrecorded:
            if chosen.is_embedded:  # there is nobody else, and its client waits here
                raise
            hand_back(task, unrecorded, chosen)
        raise


def _end(job_id: str, reason: str) -> None:
    app = runtime()
    if app.settings.is_embedded and not app.ledger.has_plan(job_id):
        # Refused before anything was made of it, and its client is in this very process.
        app.entries.close(job_id)
        app.ledger.forget(job_id)
        return
    if app.ledger.has_request(job_id) and not app.ledger.is_cancelled(job_id):
        app.ledger.fail(job_id, reason)
    settle(app, job_id)
