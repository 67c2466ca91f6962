"""Noticing in the middle of a unit that its job has ended."""

from __future__ import annotations

import time
from contextlib import suppress

from app.domain.errors import RenderCancelledError, TransientError
from app.jobs import JobLedger

_WATCH_PERIOD_S = 0.5


class JobWatch:
    """Notices that a job has ended without its result; asks the store twice a second at most."""

    def __init__(self, ledger: JobLedger) -> None:
        self._ledger = ledger
        self._alive: tuple[str, float] | None = None

    def check(self, job_id: str) -> None:
        """Raises ``RenderCancelledError`` once the job is cancelled or another unit failed.

        A store that does not answer says neither: a tile is not given up for that.
        """
        now = time.monotonic()
        if self._alive and self._alive[0] == job_id and now - self._alive[1] < _WATCH_PERIOD_S:
            return
        with suppress(TransientError):
            self._ask(job_id)
        self._alive = (job_id, now)

    def _ask(self, job_id: str) -> None:
        if self._ledger.is_cancelled(job_id):
            raise RenderCancelledError(f"job {job_id} was cancelled")
        if self._ledger.failure(job_id) is not None:
            raise RenderCancelledError(f"job {job_id} has failed")
