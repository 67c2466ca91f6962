"""What all control tasks share: how a step's outcome becomes the task's outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Task
from celery.canvas import Signature

from app.bootstrap import runtime
from app.domain.errors import PermanentError, TransientError
from app.schemas import Manifest
from app.settings import settings

# No delay: a delayed message would be held by one worker, or on quorum queues pass through
# twenty-eight delay queues. The store's own client has backed off before it gave up.
RETRIES: dict[str, Any] = {
    "autoretry_for": (TransientError,),
    "max_retries": settings().max_retries,
    "default_retry_delay": 0,
}


def settle(
    task: Task[..., Any], job_id: str, step: Callable[[], Signature | Manifest]
) -> dict[str, Any]:
    """Run *step*; its chord replaces *task*, its manifest is the result.

    A failure for good is recorded in the store before it reaches the client.
    """
    try:
        outcome = step()
    except PermanentError as err:
        _record_failure(job_id, str(err))
        raise
    except TransientError as err:
        if task.request.retries >= RETRIES["max_retries"]:
            _record_failure(job_id, str(err))
        raise
    if isinstance(outcome, Manifest):
        return outcome.model_dump(mode="json")
    return task.replace(outcome)


def _record_failure(job_id: str, reason: str) -> None:
    ledger = runtime().ledger
    if ledger.has_request(job_id) and not ledger.is_cancelled(job_id):
        ledger.fail(job_id, reason)
