"""Jobs that no living worker can take: how long that has been so."""

from __future__ import annotations

from collections.abc import Callable, Collection


class Unserved:
    """Counts by the dispatcher's own clock alone, and anew with every dispatcher."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since_s: dict[str, float] = {}

    def follow(self, job_ids: Collection[str]) -> None:
        """Note that *job_ids*, and no others, have nobody who could take their work."""
        now_s = self._monotonic()
        self._since_s = {job_id: self._since_s.get(job_id, now_s) for job_id in job_ids}

    def longer_than(self, limit_s: float) -> list[str]:
        """Jobs that have been so for more than *limit_s* without a break."""
        now_s = self._monotonic()
        return [job_id for job_id, since_s in self._since_s.items() if now_s - since_s > limit_s]
