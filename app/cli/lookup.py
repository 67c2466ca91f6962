"""Where a job stands: the store tells, and for a job without a record its task's result."""

from __future__ import annotations

from app.bootstrap import Runtime, runtime
from app.domain.errors import NotFoundError, RenderCancelledError, RenderFailedError
from app.jobs import JobState, JobStatus


def find(job_id: str) -> JobStatus:
    """Where the job stands. Raises the error that refused it, when its plan was refused."""
    status = look(runtime(), job_id)
    if status is None:
        raise_if_over(job_id, None)
        raise NotFoundError(f"job {job_id} is not known")
    return status


def look(app: Runtime, job_id: str) -> JobStatus | None:
    """The job's status, ``None`` until it is planned."""
    try:
        return app.ledger.status(job_id)
    except NotFoundError:
        return None


def raise_if_over(job_id: str, status: JobStatus | None) -> None:
    """Raises the error the job ended with, if it has ended with one."""
    if status is not None and status.state is JobState.FAILED:
        raise RenderFailedError(status.reason or "no reason was recorded")
    if status is not None and status.state is JobState.CANCELLED:
        raise RenderCancelledError(f"job {job_id} was cancelled")
    if (error := _task_error(job_id)) is not None:
        raise error


def _task_error(job_id: str) -> BaseException | None:
    """What the job's task raised: a plan that was refused, or a bug, leaves no record.

    Results that cannot be read say nothing: the store alone knows how a job stands.
    """
    # Imported here: `tilechord status` of a known job needs no Celery, and starts sooner.
    from celery.result import AsyncResult
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    from app.celery import celery

    try:
        result: AsyncResult[object] = AsyncResult(job_id, app=celery)
        error = result.result if result.failed() else None
    except (OperationalError, RedisError, OSError):
        return None
    return error if isinstance(error, BaseException) else None
