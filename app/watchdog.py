"""Ending this process where staying would harm: an endless unit or step, a machine that is leaving.

A process that ends acknowledges nothing: the broker gives its message to another worker at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from app.exits import exit_for_good
from app.own_node import OwnNode

log = logging.getLogger(__name__)
_PERIOD_S = 0.25


class Watchdog:
    """Ends the process of *node* when a unit, a step or its leaving takes too long.

    Only in a worker's own process: one inside a client's program is not this one's to end.
    """

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
