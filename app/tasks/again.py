"""Steps of control workers that were begun before: who begins them again may die of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache

from app.attempts import Attempts, Step
from app.bootstrap import runtime
from app.domain.errors import RenderFailedError
from app.patience import Patience
from app.workflow import Watched


@lru_cache(maxsize=1)
def own_attempts() -> Attempts:
    """This process's attempts."""
    app = runtime()
    return Attempts.of(app.settings, app.store, app.board)


def watching(job_id: str, patience: Patience, *, is_again: bool) -> Watched:
    """What is around the steps of a message that came to somebody before; else nothing."""

    def watched(step: Step) -> AbstractContextManager[None]:
        own_attempts().tidy()
        return _taken_up(job_id, step, patience) if is_again else nullcontext()

    return watched


@contextmanager
def _taken_up(job_id: str, step: Step, patience: Patience) -> Iterator[None]:
    """Leave a record of this worker while the block runs.

    Raises ``RenderFailedError`` that names the step when too many workers died of it.
    """
    attempts = own_attempts()
    if reason := attempts.condemn(job_id, step, patience.wait, time.time):
        raise RenderFailedError(f"{step.label}: {reason}")
    with attempts.recorded([step]):
        yield
