"""Ending this process where staying would harm: an endless unit, a machine that is leaving.

A process that ends acknowledges nothing: the broker gives its message to another worker at once.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from celery.worker import state

from app.nodes import OwnNode
from app.settings import Settings
from workers.faults import exit_for_good

log = logging.getLogger(__name__)
_PERIOD_S = 0.25


class Watchdog:
    """Ends the process of *node* when a unit or its leaving takes too long."""

    def __init__(
        self,
        node: OwnNode,
        *,
        unit_timeout_s: float,
        spot_grace_s: float,
        exit_process: Callable[[], object] = exit_for_good,
    ) -> None:
        self._node = node
        self._unit_timeout_s = unit_timeout_s
        self._spot_grace_s = spot_grace_s
        self._exit_process = exit_process

    def start(self) -> None:
        threading.Thread(target=self._run, name="tilechord-watchdog", daemon=True).start()

    def look(self) -> None:
        """End the process if it is time."""
        if (running_s := self._node.running_s()) > self._unit_timeout_s:
            # Not the unit's failure: where it hangs, another machine may not.
            log.error("unit.endless", extra=self._fields(running_s, self._unit_timeout_s))
            self._exit_process()
        if (leaving_s := self._node.leaving_s()) > self._spot_grace_s:
            log.warning("node.left_in_haste", extra=self._fields(leaving_s, self._spot_grace_s))
            self._exit_process()

    def _run(self) -> None:
        while True:
            time.sleep(_PERIOD_S)
            self.look()

    def _fields(self, seconds: float, limit_s: float) -> dict[str, object]:
        return {"seconds": round(seconds, 1), "limit_s": limit_s, "unit": self._node.longest()}


def heed_spot_notice(chosen: Settings, node: OwnNode) -> None:
    """Leave when ``spot_signal`` comes: take no more work, give the running unit back.

    Only in the main thread, which alone may set signal handlers. The signal that Celery prints
    stacks on is taken over.
    """
    if chosen.spot_signal == "none":
        return

    def leave(*_: object) -> None:
        node.leave("spot notice")
        state.should_stop = 0  # type: ignore[assignment]  # an exit code; the stubs know None only

    signal.signal(getattr(signal, f"SIG{chosen.spot_signal}"), leave)
