"""The load guard: a node that others need takes no more work, and goes on by itself.

The running unit is finished. While a node is paused its messages lie where every other node can
take them; its connection, its heartbeat and its warm models stay.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from app.domain.guard import Limits, overload
from app.own_node import OwnNode
from app.settings import Settings
from workers.device import choose_device
from workers.sensors import Sensor, open_sensor

log = logging.getLogger(__name__)


class Guard:
    """Reads *sensor* every *period_s* and lets Celery's *consumer* take work, or not."""

    def __init__(
        self, consumer: Any, node: OwnNode, sensor: Sensor, limits: Limits, period_s: float
    ) -> None:
        self._consumer = consumer
        self._node = node
        self._sensor = sensor
        self._limits = limits
        self._period_s = period_s
        self._reason = ""
        self._parked: list[str] = []

    def start(self) -> None:
        threading.Thread(target=self._run, name="tilechord-guard", daemon=True).start()

    def _run(self) -> None:
        while not self._node.is_draining:
            time.sleep(self._period_s)
            try:
                self.look()
            except Exception:  # a sensor that fails must not keep a paused node paused
                log.exception("guard.blind")
                self._decide("")

    def look(self) -> None:
        """Read the sensor once and act on it."""
        load = self._sensor.read()
        self._decide(overload(load, self._limits, is_paused=bool(self._reason)))

    def _decide(self, reason: str) -> None:
        if bool(reason) != bool(self._reason):
            log.info("node.paused" if reason else "node.resumed", extra={"reason": reason})
        if reason != self._reason:
            self._node.pause(reason)
        self._reason = reason
        # Also when nothing changed: the loop forgets what it was to do when its connection breaks.
        # The queues are its own; touched from another thread they would be torn.
        self._consumer.call_soon(self._park if reason else self._unpark)

    def _park(self) -> None:
        for name in list(self._queues.consume_from):
            if name not in self._parked:
                self._parked.append(name)
            if self._consumer.task_consumer is None:  # between two connections
                self._queues.deselect(name)
            else:
                self._consumer.cancel_task_queue(name)

    def _unpark(self) -> None:
        # A new subscription brings a message, whatever is under way: later then.
        if self._consumer.task_consumer is None or self._node.is_working:
            return
        while self._parked:
            self._consumer.add_task_queue(self._parked[-1])
            self._parked.pop()

    @property
    def _queues(self) -> Any:
        return self._consumer.app.amqp.queues


def guard_limits(chosen: Settings) -> Limits:
    """The limits of *chosen*; a threshold of 0 is none."""
    return Limits(
        gpu_memory=chosen.gpu_memory_threshold or None,
        cpu=chosen.cpu_usage_threshold or None,
        margin=chosen.load_margin,
    )


def open_guard(consumer: Any, node: OwnNode, chosen: Settings) -> Guard | None:
    """The guard that *chosen* asks for, not started; none without a sensor or a threshold."""
    limits = guard_limits(chosen)
    sensor = open_sensor(chosen.sensor, choose_device(chosen.device))
    if sensor is None or (limits.gpu_memory is None and limits.cpu is None):
        return None
    return Guard(consumer, node, sensor, limits, chosen.heartbeat_s)
