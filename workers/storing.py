"""Storing what was rendered while the next is being rendered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from app.domain.work import Outcome
from app.patience import submitted


class Storing:
    """Steps in a thread, one at a time, each while its caller renders the next units.

    No more than one is under way, so that finished blobs do not pile up in memory.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._pending: Future[Outcome] | None = None

    def begin(self, step: Callable[[], Outcome]) -> Outcome:
        """Begin *step* once the one before has ended; returns how that did, or raises what it did.

        The first has none before it: its units count as rendered.
        """
        before = self.wait()
        if before is Outcome.RENDERED:
            self._pending = submitted(self._threads, step)
        return before

    def wait(self) -> Outcome:
        """How the step under way has ended."""
        pending, self._pending = self._pending, None
        return pending.result() if pending else Outcome.RENDERED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(Exception):  # on the way out with an error, which tells more
            self.wait()
