"""Noticing in the middle of a unit that its job has ended."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress

from app.domain.errors import RenderCancelledError, TransientError
from app.jobs import JobLedger

_WATCH_PERIOD_S = 2.0
"""Who cancels and whose unit fails tell every worker; this finds all else, and what was missed."""
_JOBS = 8
"""More than a worker has messages of."""
_MOST_TOLD = 100
"""Every worker is told of every cancelled job, and most have nothing of it."""


class JobWatch:
    """Notices that a job has ended without its result.

    Asks the store every two seconds at most, and no longer than it works meanwhile: a unit has
    hundreds of layers, and a silent store takes many seconds to be given up. At once where it was
    told that the job is not wanted.
    """

    def __init__(self, ledger: JobLedger) -> None:
        self._ledger = ledger
        self._next_s: OrderedDict[str, float] = OrderedDict()
        self._told: set[str] = set()

    def tell(self, job_id: str) -> None:
        """Look at the store the next time that somebody asks for this job; from any thread."""
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()  # one of ours among them costs two seconds
        self._told.add(job_id)

    def check(self, job_id: str) -> None:
        """Raises ``RenderCancelledError`` once the job is cancelled or another unit failed.

        A store that does not answer says neither: a tile is not given up for that.
        """
        began_s = time.monotonic()
        if job_id not in self._told and began_s < self._next_s.get(job_id, began_s):
            return
        self._told.discard(job_id)
        self._next_s.pop(job_id, None)  # where it has ended, its other message here looks as well
        with suppress(TransientError):
            self._ask(job_id)
        ended_s = time.monotonic()
        self._next_s[job_id] = ended_s + max(_WATCH_PERIOD_S, ended_s - began_s)
        while len(self._next_s) > _JOBS:
            self._next_s.popitem(last=False)

    def _ask(self, job_id: str) -> None:
        if self._ledger.is_cancelled(job_id):
            raise RenderCancelledError(f"job {job_id} was cancelled")
        if self._ledger.failure(job_id) is not None:
            raise RenderCancelledError(f"job {job_id} has failed")
