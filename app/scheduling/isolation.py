"""One job's records at a time: those that cannot be read keep back no other job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from app.domain.errors import ConfigurationError, PermanentError, StorageUnavailableError
from app.entries import Entry

log = logging.getLogger(__name__)

AWAY = (StorageUnavailableError, ConfigurationError)
"""The store does not answer, or not to us: that says nothing about the job."""
DAMAGED = (PermanentError, ValueError)
"""What reading a record raises that is damaged for good, or another version's."""
_MOST_IN_A_ROW = 2
"""One may be a bad object; with two the store is likely to be away, and is left alone for now."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
"""A try may take seconds, in which nobody is served."""


class Isolation:
    """Remembers whose records the store did not give, and looks at them again, ever less often."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._again_s: dict[str, float] = {}
        self._pauses_s: dict[str, float] = {}

    def each(
        self,
        entries: Sequence[Entry],
        step: Callable[[Entry], None],
        fail: Callable[[str, Exception], None],
    ) -> None:
        """Do *step* for each of *entries*, and *fail* those whose records are damaged.

        Those that failed before come last and after a pause, the one that waits longest first: so
        all have their turn, though each time ends with the second in a row that the store refuses.
        """
        in_a_row = 0
        for entry in self._in_turn(entries):
            try:
                _do(entry, step, fail)
            except AWAY as err:
                self._put_off(entry.job_id, err)
                in_a_row += 1
                if in_a_row == _MOST_IN_A_ROW:
                    return
            else:
                self._forget(entry.job_id)
                in_a_row = 0

    def follow(self, job_ids: Collection[str]) -> None:
        """Know of these jobs alone: the others have left the line."""
        for job_id in self._again_s.keys() - set(job_ids):
            self._forget(job_id)

    def _in_turn(self, entries: Sequence[Entry]) -> list[Entry]:
        now_s, never_s = self._monotonic(), float("-inf")
        again_s = {entry.job_id: self._again_s.get(entry.job_id, never_s) for entry in entries}
        due = [entry for entry in entries if again_s[entry.job_id] <= now_s]
        return sorted(due, key=lambda entry: again_s[entry.job_id])

    def _forget(self, job_id: str) -> None:
        self._again_s.pop(job_id, None)
        self._pauses_s.pop(job_id, None)

    def _put_off(self, job_id: str, error: Exception) -> None:
        pause_s = self._pauses_s.get(job_id, _FIRST_PAUSE_S)
        self._again_s[job_id] = self._monotonic() + pause_s
        self._pauses_s[job_id] = min(2 * pause_s, _LONGEST_PAUSE_S)
        fields = {"job_id": job_id, "reason": str(error), "pause_s": pause_s}
        log.warning("job.put_off", extra=fields)


def _do(
    entry: Entry, step: Callable[[Entry], None], fail: Callable[[str, Exception], None]
) -> None:
    try:
        step(entry)
    except AWAY:
        raise
    except DAMAGED as err:
        fail(entry.job_id, err)
