"""Noticing in the middle of a unit that its job has ended."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress

from app.domain.errors import RenderCancelledError, TransientError
from app.jobs import JobLedger

_WATCH_PERIOD_S = 0.5
_JOBS = 8
"""More than a worker has messages of."""


class JobWatch:
    """Notices that a job has ended without its result.

    Asks the store twice a second at most, and no longer than it works meanwhile: a unit has
    hundreds of layers, and a silent store takes many seconds to be given up.
    """

    def __init__(self, ledger: JobLedger) -> None:
        self._ledger = ledger
        self._next_s: OrderedDict[str, float] = OrderedDict()

    def check(self, job_id: str) -> None:
        """Raises ``RenderCancelledError`` once the job is cancelled or another unit failed.

        A store that does not answer says neither: a tile is not given up for that.
        """
        began_s = time.monotonic()
        if began_s < self._next_s.get(job_id, began_s):
            return
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
