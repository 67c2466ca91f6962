"""The dispatcher's thread in a control worker; of several workers' threads one acts."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import Any

from celery.signals import worker_ready, worker_shutdown

from app.bootstrap import Runtime, runtime
from app.domain.errors import RenderError, TransientError
from app.live.port import Record
from app.queues import control_queue
from app.scheduling.dispatcher import Dispatcher
from app.scheduling.line import Clock
from app.scheduling.publishing import Publisher

log = logging.getLogger(__name__)

_ROUND_S = 0.25
_LEASE = "dispatcher"
_LEASE_S = 10.0
_RENEWAL_S = 2.0


class DispatcherThread(threading.Thread):
    """Runs rounds while it holds the lease."""

    def __init__(self, runtime: Runtime, owner: str, *, is_adopting: bool = True) -> None:
        super().__init__(name="tilechord-dispatcher", daemon=True)
        self._board = runtime.board
        self._owner = f"{owner}-{secrets.token_hex(4)}"  # a name may be taken twice
        self._runtime = runtime
        self._is_adopting = is_adopting
        self._dispatcher: Dispatcher | None = None
        self._stopping = threading.Event()
        self._is_leading = False
        self._renewed_s = float("-inf")

    def run(self) -> None:
        while not self._stopping.is_set():
            if not self._leads():
                self._stopping.wait(_RENEWAL_S)
                continue
            try:
                self._opened().run_round(self._hear())
            except RenderError as err:
                log.info("dispatch.waits", extra={"reason": str(err)})
                self._stopping.wait(_ROUND_S)
            except Exception:  # whatever it knows may be the cause: it can be read again
                log.exception("dispatch.crashed")
                self._forget()
                self._stopping.wait(_ROUND_S)
        self._leave()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the round under way."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)

    def _opened(self) -> Dispatcher:
        """The dispatcher, made in the first round: that is tried again when the store is away."""
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(
                self._runtime,
                Publisher(self._runtime),
                Clock(time.monotonic, time.time),
                is_adopting=self._is_adopting,
            )
        return self._dispatcher

    def _forget(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.forget()

    def _leads(self) -> bool:
        """Whether this thread is the one that acts; while nobody can tell, nothing changes."""
        now_s = time.monotonic()
        if now_s - self._renewed_s < _RENEWAL_S:
            return self._is_leading
        try:
            leads = self._board.lease(_LEASE, self._owner, ttl_s=_LEASE_S)
        except TransientError:
            return self._is_leading
        if leads != self._is_leading:
            log.info(
                "dispatch.leads" if leads else "dispatch.follows", extra={"owner": self._owner}
            )
            self._forget()
        self._is_leading, self._renewed_s = leads, now_s
        return leads

    def _hear(self) -> list[Record]:
        try:
            return self._board.listen(_ROUND_S)
        except TransientError:
            self._stopping.wait(_ROUND_S)
            return []

    def _leave(self) -> None:
        try:
            # One that never led has nothing to close; here, what was submitted before the first
            # round must still leave the line.
            if self._dispatcher is not None or not self._is_adopting:
                self._opened().close()
            self._board.release(_LEASE, self._owner)
        except RenderError as err:
            log.info("dispatch.left", extra={"reason": str(err)})


_thread: DispatcherThread | None = None


@worker_ready.connect
def _start(sender: Any, **_: object) -> None:
    """Every worker that serves the queue of control tasks can dispatch."""
    global _thread
    if control_queue(runtime().settings) in sender.app.amqp.queues.consume_from:
        _thread = DispatcherThread(runtime(), str(sender.hostname))
        _thread.start()


@worker_shutdown.connect
def _stop(**_: object) -> None:
    if _thread is not None:
        _thread.stop()
