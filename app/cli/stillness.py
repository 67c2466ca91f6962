"""Jobs that come no further, and why: whoever follows one is told once, not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.attendance import absence
from app.bootstrap import Runtime
from app.jobs import JobStatus

STILL_S = 10.0
"""Longer than the three heartbeats after which a worker that died is known to be lost."""


class Stillness:
    """Watches one job; :meth:`look` is called again and again."""

    def __init__(
        self,
        ask: Callable[[JobStatus | None], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._since_s = clock()
        self._done: int | None = None
        self._told = ""

    def look(self, status: JobStatus | None) -> str:
        """Why nothing happens, when it is time to say so; else empty.

        Said again only after the reason has changed.
        """
        done = status.progress.done if status and status.progress else None
        if done != self._done:
            self._done, self._since_s = done, self._clock()
        if self._clock() - self._since_s < STILL_S:
            return ""
        self._since_s = self._clock()  # the next look at the nodes is as far away
        before, self._told = self._told, self._ask(status)
        return self._told if self._told != before else ""


def stillness(app: Runtime) -> Stillness:
    """By the workers that are alive; an embedded installation needs none."""

    def ask(status: JobStatus | None) -> str:
        if app.settings.is_embedded:
            return ""
        if status is None or status.progress is None:
            return absence(app, None, None)
        return absence(app, app.ledger.plan(status.job_id), status.progress.stage)

    return Stillness(ask)
