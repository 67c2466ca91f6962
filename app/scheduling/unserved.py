"""Jobs that no living worker can take: they wait for one, and not for ever."""

from __future__ import annotations

from app.bootstrap import Runtime
from app.domain.errors import ConfigurationError
from app.scheduling.line import Clock, Line
from app.scheduling.reach import Reach


class Unserved:
    """Counts by the dispatcher's own clock alone, and anew with every dispatcher."""

    def __init__(self, runtime: Runtime, clock: Clock, line: Line, reach: Reach) -> None:
        self._settings = runtime.settings
        self._clock = clock
        self._line = line
        self._reach = reach
        self._since_s: dict[str, float] = {}

    def look(self) -> None:
        """End the jobs that nobody could have taken for too long."""
        limit_s = self._settings.unserved_limit_s
        if self._settings.is_embedded or not limit_s:
            return
        now_s = self._clock.monotonic()
        missing = {job.entry.job_id: job for job in self._line if not self._reach.is_served(job)}
        self._since_s = {job_id: self._since_s.get(job_id, now_s) for job_id in missing}
        for job_id, job in missing.items():
            if now_s - self._since_s[job_id] > limit_s:
                reason = (
                    f"no living worker of pool {self._reach.pool_for(job)} could take its work "
                    f"for {limit_s:g} s (TILECHORD_UNSERVED_LIMIT_S)"
                )
                self._line.end(job_id, ConfigurationError(reason))
                if self._line.get(job_id) is None:  # it may be resumed before the next look
                    del self._since_s[job_id]

    def forget(self) -> None:
        """Let all wait from now on."""
        self._since_s.clear()
