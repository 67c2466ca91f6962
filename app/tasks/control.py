"""Chord callbacks: each goes on from the blobs that exist."""

from __future__ import annotations

from typing import Any

from celery import Task

from app import workflow
from app.bootstrap import runtime
from app.celery import celery
from app.tasks.base import RETRIES, settle


@celery.task(bind=True, name=workflow.ADVANCE, **RETRIES)
def advance(self: Task[..., Any], *, job_id: str) -> dict[str, Any]:
    """Go on after a base picture or a preparation."""
    return settle(self, job_id, lambda: workflow.advance(runtime(), job_id))


@celery.task(bind=True, name=workflow.MERGE, **RETRIES)
def merge(self: Task[..., Any], *, job_id: str) -> dict[str, Any]:
    """Merge the tiles of a phase and go on."""
    return settle(self, job_id, lambda: workflow.advance(runtime(), job_id))


@celery.task(bind=True, name=workflow.FINISH, **RETRIES)
def finish(self: Task[..., Any], *, job_id: str) -> dict[str, Any]:
    """Assemble the pictures and write the result."""
    return settle(self, job_id, lambda: workflow.advance(runtime(), job_id))
