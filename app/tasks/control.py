"""The control worker's steps: each goes on from the blobs that exist."""

from __future__ import annotations

from typing import Any

from celery import Task

from app import workflow
from app.celery import celery
from app.tasks.base import move_on

# Whoever waits is told by the job's end, not by the end of one of its steps: results are ignored.


@celery.task(bind=True, name=workflow.ADVANCE, ignore_result=True)
def advance(self: Task[..., Any], *, job_id: str, images: list[int] | None = None) -> None:
    """Look at some images or the whole job again, when the dispatcher asks."""
    move_on(self, job_id, images)


@celery.task(bind=True, name=workflow.MERGE, ignore_result=True)
def merge(self: Task[..., Any], *, job_id: str, images: list[int] | None = None) -> None:
    """Merge the tiles of a phase, when it is complete."""
    move_on(self, job_id, images)


@celery.task(bind=True, name=workflow.FINISH, ignore_result=True)
def finish(self: Task[..., Any], *, job_id: str, images: list[int] | None = None) -> None:
    """Assemble the pictures whose cores are all there."""
    move_on(self, job_id, images)
