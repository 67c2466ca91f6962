"""Chord callbacks: each goes on from the blobs that exist."""

from __future__ import annotations

from typing import Any

from celery import Task

from app import workflow
from app.celery import celery
from app.tasks.base import RETRIES, move_on

# Whoever waits is told by the job's end, not by the end of one of its steps.
_OPTIONS = RETRIES | {"bind": True, "ignore_result": True}


@celery.task(name=workflow.ADVANCE, **_OPTIONS)
def advance(self: Task[..., Any], *, job_id: str, images: list[int] | None = None) -> None:
    """Go on after units that need no merging, or look at the whole job."""
    move_on(self, job_id, images)


@celery.task(name=workflow.MERGE, **_OPTIONS)
def merge(self: Task[..., Any], *, job_id: str, images: list[int] | None = None) -> None:
    """Merge the tiles of a phase, when it is complete."""
    move_on(self, job_id, images)


@celery.task(name=workflow.FINISH, **_OPTIONS)
def finish(self: Task[..., Any], *, job_id: str, images: list[int] | None = None) -> None:
    """Assemble the pictures whose cores are all there."""
    move_on(self, job_id, images)
