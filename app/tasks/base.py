"""What all control tasks share: what becomes of a job whose step fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Task

from app import workflow
from app.bootstrap import runtime
from app.domain.errors import PermanentError, TransientError
from app.outcomes import announce, settle
from app.schemas import Manifest, RenderRequest
from app.settings import settings

# No delay: a delayed message would be held by one worker, or on quorum queues pass through
# twenty-eight delay queues. The store's own client has backed off before it gave up.
RETRIES: dict[str, Any] = {
    "autoretry_for": (TransientError,),
    "max_retries": settings().max_retries,
    "default_retry_delay": 0,
}


def plan_job(
    task: Task[..., Any], job_id: str, request: Callable[[], RenderRequest]
) -> Manifest | None:
    """Plan the job unless it was withdrawn or has ended; its result if that is there already."""
    app = runtime()
    with _failures_recorded(task, job_id):
        if app.ledger.is_withdrawn(job_id) or settle(app, job_id):
            return None
        manifest = workflow.start(app, job_id, request())
    if manifest is None:
        announce(app, {"kind": "job", "job_id": job_id})
    return manifest


def move_on(task: Task[..., Any], job_id: str, images: list[int] | None) -> None:
    """Do the control worker's part of the job, and say that it was done."""
    app = runtime()
    with _failures_recorded(task, job_id):
        manifest = workflow.advance(app, job_id, images)
    if manifest is not None:
        settle(app, job_id)
    else:
        announce(app, {"kind": "job", "job_id": job_id, "images": images})


@contextmanager
def _failures_recorded(task: Task[..., Any], job_id: str) -> Iterator[None]:
    """A failure for good ends the job: recorded in the store before it reaches the client."""
    try:
        yield
    except PermanentError as err:
        _end(job_id, str(err))
        raise
    except TransientError as err:
        if task.request.retries >= RETRIES["max_retries"]:
            _end(job_id, str(err))
        raise


def _end(job_id: str, reason: str) -> None:
    app = runtime()
    if app.settings.is_embedded and not app.ledger.has_plan(job_id):
        # Refused before anything was made of it, and its client is in this very process.
        app.entries.close(job_id)
        app.ledger.withdraw(job_id)
        return
    if app.ledger.has_request(job_id) and not app.ledger.is_cancelled(job_id):
        app.ledger.fail(job_id, reason)
    settle(app, job_id)
