"""One message at a worker: how it came, and how patiently its steps are done."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from app.ahead import NextMessage
from app.domain.errors import TransientError
from app.patience import Patience, nothing
from app.schemas import WorkMessage
from app.telemetry import metrics
from workers.watch import JobWatch

log = logging.getLogger(__name__)
T = TypeVar("T")

_LONGEST_WAIT_S = 0.5
"""What comes before its time waits a tenth of a second as a rule, and others may have nothing."""


class BusyError(Exception):
    """The renderer has had another message for longer than this one should wait for it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a message came to this worker."""

    worker: str
    is_again: bool = False
    """Whether somebody had it before, and may have died of it."""
    bigger_pool: str | None = None
    """Where a unit can go that does not fit into this worker's memory."""
    ask_next: Callable[[], Future[bool] | None] = field(default=nothing, compare=False)
    """Asks for the message after it."""
    can_pass_on: bool = False
    """Whether another worker may get it instead; not if that would hide that somebody had it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A message's steps are tried again while its job is wanted and the worker runs."""

    message: WorkMessage
    delivery: Delivery
    patience: Patience
    watch: JobWatch
    next_message: NextMessage = field(default_factory=lambda: NextMessage(nothing))

    def check(self) -> None:
        """Raises ``RenderCancelledError`` once the job has ended without its result."""
        self.watch.check(self.message.job_id)

    def look(self) -> None:
        """Raises what ends waiting: its job's end, or this worker's."""
        self.patience.look(self.check)

    def patient_look(self) -> Callable[[], None]:
        """A look for who waits for the renderer from now on; raises ``BusyError`` in the end."""
        end_s = time.monotonic() + _LONGEST_WAIT_S

        def look() -> None:
            self.look()
            if self.delivery.can_pass_on and time.monotonic() > end_s:
                raise BusyError(f"{self.message.work.label} waits for another message's units")

        return look

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass, unless the job ends or the worker stops."""
        self.patience.wait(seconds, self.check)

    def attempt(
        self, step: Callable[[], T], *, is_final: Callable[[TransientError], bool] = lambda _: False
    ) -> T:
        """What *step* returns, as :meth:`app.patience.Patience.attempt` has it."""
        return self.patience.attempt(step, check=self.check, note=self._note, is_final=is_final)

    def _note(self, error: TransientError) -> None:
        message = self.message
        metrics.work_retried(message.stage, error)
        fields = {"job_id": message.job_id, "work": message.work.label, "reason": str(error)}
        log.info("work.retried", extra=fields)
