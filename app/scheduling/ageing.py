"""Since when each job has been waiting for the dispatcher to serve it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.entries import Entry


class Waits:
    """Counts by the dispatcher's own clock alone, and anew with every dispatcher.

    A job's time of acceptance is the clock of whoever ordered it, and says nothing of how much of
    it was rendered since.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since_s: dict[str, float] = {}
        self._changes: dict[str, str] = {}

    def follow(self, entries: Mapping[str, Entry]) -> None:
        """Follow the line: who is new, paused, or was put into a class waits from now on."""
        for job_id, entry in entries.items():
            is_known = job_id in self._since_s and self._changes[job_id] == entry.change
            if entry.is_paused or not is_known:
                self.begin(job_id)
        self._changes = {job_id: entry.change for job_id, entry in entries.items()}
        self._since_s = {job_id: self._since_s[job_id] for job_id in entries}

    def begin(self, job_id: str) -> None:
        """Let the job wait from now on."""
        self._since_s[job_id] = self._monotonic()

    def waited_s(self, job_id: str) -> float:
        """How long the job has waited; one that was never seen has not."""
        now_s = self._monotonic()
        return now_s - self._since_s.get(job_id, now_s)

    def clear(self) -> None:
        """Know of no wait: another dispatcher may have served them all."""
        self._since_s.clear()
        self._changes.clear()
