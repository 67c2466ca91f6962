"""Chord callbacks: each goes on from the blobs that exist."""

from __future__ import annotations

from app import workflow
from app.celery import celery
from app.tasks.base import move_on

# Whoever waits is told by the job's end, not by the end of one of its steps: results are ignored.


@celery.task(name=workflow.ADVANCE, ignore_result=True)
def advance(*, job_id: str, images: list[int] | None = None) -> None:
    """Go on after units that need no merging, or look at the whole job."""
    move_on(job_id, images)


@celery.task(name=workflow.MERGE, ignore_result=True)
def merge(*, job_id: str, images: list[int] | None = None) -> None:
    """Merge the tiles of a phase, when it is complete."""
    move_on(job_id, images)


@celery.task(name=workflow.FINISH, ignore_result=True)
def finish(*, job_id: str, images: list[int] | None = None) -> None:
    """Assemble the pictures whose cores are all there."""
    move_on(job_id, images)
