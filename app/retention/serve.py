"""The cleaner's thread in a control worker; of several workers' threads one cleans at a time."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery.signals import worker_ready, worker_shutdown

from app.bootstrap import Runtime, runtime
from app.domain.errors import RenderError
from app.queues import control_queue
from app.retention.cleaning import Cleaner, rules_of

log = logging.getLogger(__name__)
_LEASE = "cleaner"
_FIRST_S = 60.0
"""A worker that is started again and again must clean too, but not while its cluster starts."""


class CleaningThread(threading.Thread):
    """Cleans once in each period, unless another worker does.

    The lease is not given back: it keeps the others from cleaning until the period is over.
    """

    def __init__(self, runtime: Runtime, owner: str, *, first_s: float = _FIRST_S) -> None:
        super().__init__(name="tilechord-cleaner", daemon=True)
        self._runtime = runtime
        self._owner = owner
        self._period_s = runtime.settings.clean_period_s
        self._first_s = min(first_s, self._period_s)
        self._stopping = threading.Event()
        self._cleaner = Cleaner(runtime, is_stopping=self._stopping.is_set)

    def run(self) -> None:
        wait_s = self._first_s
        while not self._stopping.wait(wait_s):
            wait_s = self._period_s
            try:
                self.clean()
            except RenderError as err:
                log.info("clean.waits", extra={"reason": str(err)})
            except Exception:  # the next period is another chance
                log.exception("clean.crashed")

    def clean(self) -> None:
        """Remove what may go, if it is this worker's turn."""
        if not self._runtime.board.lease(_LEASE, self._owner, ttl_s=self._period_s):
            return
        done = self._cleaner.remove(self._cleaner.choose(rules_of(self._runtime.settings)))
        fields = {"removed": done.removed, "bytes": done.size_bytes, "left": done.left}
        log.info("clean.done", extra=fields)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the blob that is being removed."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)


_thread: CleaningThread | None = None


@worker_ready.connect
def _start(sender: Any, **_: object) -> None:
    """Every worker that serves the queue of control tasks can clean."""
    global _thread
    app = runtime()
    control = control_queue(app.settings)
    if app.settings.clean_period_s and control in sender.app.amqp.queues.consume_from:
        _thread = CleaningThread(app, str(sender.hostname))
        _thread.start()


@worker_shutdown.connect
def _stop(**_: object) -> None:
    if _thread is not None:
        _thread.stop()
