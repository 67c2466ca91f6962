"""What is around a control worker's step: its time is limited, and its deaths are counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache

from app.attempts import Attempts, Step
from app.bootstrap import runtime
from app.domain.errors import RenderFailedError
from app.heartbeat import own_node
from app.patience import Patience
from app.workflow import Watched


@lru_cache(maxsize=1)
def own_attempts() -> Attempts:
    """This process's attempts."""
    app = runtime()
    return Attempts.of(app.settings, app.store, app.board)


def watching(job_id: str, patience: Patience, *, is_again: bool) -> Watched:
    """What is around each step of a message, which somebody had before if it comes *again*.

    Between two attempts a step takes no time: who waits for a store does not hang.
    """

    @contextmanager
    def watched(step: Step) -> Iterator[None]:
        own_attempts().tidy()
        taken_up = _taken_up(job_id, step, patience) if is_again else nullcontext()
        with taken_up, own_node().at_step(job_id, step.label, step.image):
            yield

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
