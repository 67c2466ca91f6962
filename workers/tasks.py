"""The Celery tasks of a rendering worker: doorbells, one per stage."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task

from app.celery import celery
from app.domain.errors import TransientError
from app.domain.work import Stage
from app.schemas import WorkMessage
from app.tasks.base import RETRIES
from app.workflow import WORKER_TASKS
from workers.bootstrap import worker_runtime

log = logging.getLogger(__name__)


@celery.task(bind=True, name=WORKER_TASKS[Stage.BASE], **RETRIES)
def base(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Render the base picture of one image."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.PREPARE], **RETRIES)
def prepare(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Enlarge the base to the canvas and encode it."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.TILE], **RETRIES)
def tile(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Denoise one tile."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.HEAD], **RETRIES)
def head(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Decode as far as the whole canvas has to be seen."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.CORE], **RETRIES)
def core(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Decode and super-resolve one core."""
    return _execute(self, message)


def _execute(task: Task[..., Any], payload: dict[str, Any]) -> dict[str, str]:
    """Run the unit; whatever goes wrong for good is recorded, so that the job ends with it."""
    message = WorkMessage.model_validate(payload)
    executor = worker_runtime().executor
    try:
        return executor.execute(message, str(task.request.hostname))
    except TransientError as err:
        if task.request.retries < RETRIES["max_retries"]:
            raise
        executor.fail(message, err)
    except Exception as err:  # a bug in one unit must not leave its job waiting for ever
        log.exception("work.crashed", extra={"job_id": message.job_id, "work": message.work.label})
        executor.fail(message, err)
    return {"key": "", "status": "failed"}
