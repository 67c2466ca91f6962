"""One job's records at a time: those that cannot be read keep back no other job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from app.domain.errors import ConfigurationError, PermanentError, StorageUnavailableError

log = logging.getLogger(__name__)

AWAY = (StorageUnavailableError, ConfigurationError)
"""The store does not answer, or not to us: that says nothing about the job."""
DAMAGED = (PermanentError, ValueError)
"""What reading a record raises that is damaged for good, or another version's."""
_MOST_REFUSED = 2
"""In a round. Each may take as long as the store is given to answer, and nobody is served then."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_FORGIVEN_S = 60.0
"""What a look at the job does not touch may be refused as soon as it is back: it pauses longer."""


@dataclass(slots=True)
class _Pause:
    """Of a job that is put off until *again_s*, or was."""

    again_s: float
    pause_s: float
    is_over: bool = False


class Isolation:
    """Remembers whose records the store did not give, and looks at them again, ever less often.

    *check* raises one of ``AWAY`` when the store refuses everything: then nobody is put off.
    """

    def __init__(self, monotonic: Callable[[], float], check: Callable[[], object]) -> None:
        self._monotonic = monotonic
        self._check = check
        self._pauses: dict[str, _Pause] = {}
        self._refused = 0

    def begin_round(self) -> None:
        self._refused = 0

    def each(
        self,
        job_ids: Iterable[str],
        step: Callable[[str], None],
        fail: Callable[[str, Exception], None],
    ) -> None:
        """Do *step* for those of *job_ids* that are not put off; *fail* those that are damaged.

        One whose records the store refuses is put off. With the second in a round the rest waits
        for the next: as each is put off, all others have their turn.
        """
        for job_id in job_ids:
            if self._refused >= _MOST_REFUSED:
                return
            if not self._is_put_off(job_id):
                self._do(job_id, step, fail)

    def try_again(
        self, step: Callable[[str], None], fail: Callable[[str, Exception], None]
    ) -> None:
        """Do *step* for jobs that were put off and have paused, the one that waits longest first.

        Up to the first that the store refuses still, and none where it has refused one already.
        """
        now_s = self._monotonic()
        due = {job_id: pause.again_s for job_id, pause in self._paused() if pause.again_s <= now_s}
        for job_id in sorted(due, key=lambda job_id: due[job_id]):
            if self._refused:
                return
            self._do(job_id, step, fail)

    def follow(self, job_ids: Collection[str]) -> None:
        """Know of these jobs alone: the others have left the line."""
        for job_id in self._pauses.keys() - set(job_ids):
            del self._pauses[job_id]

    def _paused(self) -> list[tuple[str, _Pause]]:
        return [(job_id, pause) for job_id, pause in self._pauses.items() if not pause.is_over]

    def _is_put_off(self, job_id: str) -> bool:
        pause = self._pauses.get(job_id)
        return pause is not None and not pause.is_over

    def _do(
        self, job_id: str, step: Callable[[str], None], fail: Callable[[str, Exception], None]
    ) -> None:
        try:
            _step_or_fail(job_id, step, fail)
        except AWAY as err:
            self._refused += 1
            self._check()
            self._put_off(job_id, err)
        else:
            if (pause := self._pauses.get(job_id)) is not None:
                pause.is_over = True

    def _put_off(self, job_id: str, error: Exception) -> None:
        now_s, before = self._monotonic(), self._pauses.get(job_id)
        pause_s = _FIRST_PAUSE_S
        if before and not (before.is_over and now_s - before.again_s > _FORGIVEN_S):
            pause_s = min(2 * before.pause_s, _LONGEST_PAUSE_S)
        self._pauses[job_id] = _Pause(now_s + pause_s, pause_s)
        fields = {"job_id": job_id, "reason": str(error), "pause_s": pause_s}
        log.warning("job.put_off", extra=fields)


def _step_or_fail(
    job_id: str, step: Callable[[str], None], fail: Callable[[str, Exception], None]
) -> None:
    try:
        step(job_id)
    except AWAY:
        raise
    except DAMAGED as err:
        fail(job_id, err)
