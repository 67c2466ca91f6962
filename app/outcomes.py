"""The end of a job, told to whoever waits for its result."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from celery import states

from app.bootstrap import Runtime
from app.celery import celery
from app.domain.errors import RenderError, RenderFailedError, TransientError
from app.entries import Entry, is_reopening
from app.workflow import raise_if_ended

log = logging.getLogger(__name__)


def settle(runtime: Runtime, job_id: str) -> bool:
    """Give the job's end to its waiting client and take the job out of the line.

    False while the job is open. May be called by several at once: results are written once.
    """
    if not runtime.ledger.has_ended(job_id):
        return False  # as most often: the line is not listed for it
    # Listed before the end is read, and taken out by these names alone: to tell the end may wait
    # for Redis, and a job that is reopened meanwhile joins the line under another name.
    keys = runtime.entries.keys(job_id)
    if is_reopening(keys) and not runtime.ledger.has_result(job_id):
        return False
    if not _tell_end(runtime, job_id):
        return False
    _leave(runtime, job_id, keys)
    return True


def give_up(runtime: Runtime, job_id: str, reason: str) -> None:
    """End a job whose end is recorded, and cannot be read here: it leaves the line in any case."""
    keys = runtime.entries.keys(job_id)
    celery.backend.mark_as_failure(job_id, RenderFailedError(reason))
    _leave(runtime, job_id, keys)


def reopen(runtime: Runtime, entry: Entry) -> None:
    """Take the job's failure or cancellation back, and put it in line as *entry*.

    May be done by several at once, and again: whoever dies in the middle leaves it to the
    dispatcher.
    """
    # A job that has no end and is not in line would be nobody's for ever. So it joins the line
    # first, and marked: `settle`, which finds the end still there, takes out what has no mark, and
    # a dispatcher that finds the mark takes these steps once more. When the end is gone the job
    # joins without the mark, under a name that no `settle` has listed which has seen the end. The
    # mark goes last: it must not take back an end that comes later.
    marked = runtime.entries.add(replace(entry, is_reopening=True).anew())
    runtime.ledger.reopen(entry.job_id)
    runtime.entries.add(replace(marked, is_reopening=False).anew())
    runtime.entries.end_reopening(entry.job_id)


def _leave(runtime: Runtime, job_id: str, keys: Iterable[str]) -> None:
    runtime.entries.remove(keys)
    runtime.entries.tidy(job_id)
    announce(runtime, {"kind": "ended", "job_id": job_id})


def _tell_end(runtime: Runtime, job_id: str) -> bool:
    """Give the job's end to its waiting client; False when it has none."""
    if runtime.ledger.has_result(job_id):
        manifest = runtime.ledger.result(job_id).model_dump(mode="json")
        celery.backend.store_result(job_id, manifest, states.SUCCESS)
        return True
    try:
        raise_if_ended(runtime, job_id)
    except TransientError:  # the store does not answer: nothing is known
        raise
    except RenderError as err:
        celery.backend.mark_as_failure(job_id, err)
        return True
    return False


def announce(runtime: Runtime, event: Mapping[str, object]) -> None:
    """Tell the dispatcher. One that is not told finds out a moment later by looking."""
    try:
        runtime.board.tell(event)
    except TransientError as err:
        log.info("board.silent", extra={"reason": str(err)})
