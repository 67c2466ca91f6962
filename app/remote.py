"""Commands that workers carry out for Celery's remote control; Celery imports this in each."""

from __future__ import annotations

import logging

from celery.worker.control import control_command

from app import notices

log = logging.getLogger(__name__)
_MOST_CHARS = 100
"""Of a job's id."""


@control_command(name=notices.UNWANTED, args=[("job_id", str)])
def unwanted(state: object, job_id: str) -> None:
    """Look at once whether the job *job_id* is still wanted."""
    del state  # the worker's, as Celery gives it to every command
    if not isinstance(job_id, str) or len(job_id) > _MOST_CHARS:
        return  # no job's: others can send to this exchange too
    log.info("job.unwanted", extra={"job_id": job_id})
    notices.take(job_id)
