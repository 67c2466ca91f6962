"""Starts and drains worker processes of one pool on this machine, by the work that waits."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from app.domain.errors import BrokerUnavailableError
from app.domain.scaling import Scaler, ScalingRule
from app.live.port import LiveBoard
from app.nodes import read_nodes
from app.parents import PARENT
from app.telemetry.pools import pending_seconds

log = logging.getLogger(__name__)
_QUICK_END_S = 20.0  # a worker that ended sooner will not do better at once
_LONGEST_PAUSE_S = 60.0
_POLL_S = 0.1

Process = subprocess.Popen[bytes]


@dataclass(slots=True)
class Child:
    """A worker process that this one started."""

    name: str
    process: Process
    started_s: float
    is_draining: bool = False

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


class Autoscaler:
    """Keeps as many workers of *pool* as *rule* asks for; :meth:`look` is called again and again.

    A board that does not answer, or shows nothing, changes nothing.
    """

    def __init__(
        self,
        board: LiveBoard,
        pool: str,
        rule: ScalingRule,
        start: Callable[[str], Process],
        *,
        heartbeat_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._pool = pool
        self._rule = rule
        self._start = start
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._scaler = Scaler(rule)
        self._numbers = count(1)
        self._wanted = rule.minimum
        self._quick_ends = 0
        self._pause_until_s = float("-inf")
        self.children: list[Child] = []

    def look(self) -> None:
        """Compare what is wanted with what runs, and start or drain the difference."""
        self._reap()
        pending_s = self._ask()
        if pending_s is not None:
            self._wanted = self._scaler.settle(pending_s, self._clock())
        serving = [child for child in self.children if not child.is_draining]
        for _ in range(self._wanted - len(serving)):
            self._grow(pending_s)
        if len(serving) > self._wanted:
            for child in self._least_busy(serving)[: len(serving) - self._wanted]:
                self._drain(child, pending_s)

    def end(self, grace_s: float) -> None:
        """Drain all; whoever is still there after *grace_s* is ended, its unit goes elsewhere."""
        for child in self.children:
            self._drain(child, None)
        deadline_s = self._clock() + grace_s
        while any(child.is_running for child in self.children) and self._clock() < deadline_s:
            time.sleep(_POLL_S)
        for child in self.children:
            if child.is_running:
                log.warning("autoscale.killed", extra={"worker": child.name})
                child.process.kill()
            child.process.wait()
        self.children.clear()

    def _ask(self) -> float | None:
        try:
            return pending_seconds(self._board).get(self._pool)
        except BrokerUnavailableError as err:
            log.info("autoscale.blind", extra={"reason": str(err)})
            return None

    def _grow(self, pending_s: float | None) -> None:
        if self._clock() < self._pause_until_s:
            return
        name = f"{self._pool}-{os.getpid()}-{next(self._numbers)}"
        log.info("autoscale.started", extra={"worker": name, "pending_s": pending_s})
        self.children.append(Child(name, self._start(name), self._clock()))

    def _drain(self, child: Child, pending_s: float | None) -> None:
        """A warm shutdown: the unit under way is finished, nothing more is taken."""
        if child.is_draining or not child.is_running:
            return
        log.info("autoscale.drained", extra={"worker": child.name, "pending_s": pending_s})
        child.is_draining = True
        child.process.send_signal(signal.SIGTERM)

    def _least_busy(self, serving: list[Child]) -> list[Child]:
        """Idle ones first, of those the youngest: the others have the warmer models."""
        try:
            nodes = read_nodes(self._board, self._heartbeat_s)
        except BrokerUnavailableError:
            nodes = []
        busy = {node.pid for node in nodes if node.current is not None}
        return sorted(serving, key=lambda child: (child.process.pid in busy, -child.started_s))

    def _reap(self) -> None:
        """Forget who has ended; whoever ends at once is not started again at once."""
        now_s = self._clock()
        for child in [child for child in self.children if not child.is_running]:
            self.children.remove(child)
            if child.is_draining:
                continue
            is_quick = now_s - child.started_s < _QUICK_END_S
            self._quick_ends = self._quick_ends + 1 if is_quick else 0
            if is_quick:
                self._pause_until_s = now_s + min(2.0**self._quick_ends, _LONGEST_PAUSE_S)
            fields = {"worker": child.name, "exit_code": child.process.returncode}
            log.warning("autoscale.ended", extra=fields)


def worker_starter(pool: str, device: str | None) -> Callable[[str], Process]:
    """What starts a worker of *pool* by name, which ends with this process.

    With the thread that calls it, to be exact: to be used by one that lives as long.
    """

    def start(name: str) -> Process:
        command = [sys.executable, "-m", "app.cli", "worker", "--queues", pool, "--name", name]
        if device is not None:
            command += ["--device", device]
        # A session of its own: Ctrl-C is for the autoscaler, which drains its workers in order.
        # If it is killed they drain by themselves: nobody else would know that they are there.
        env = os.environ | {PARENT: str(os.getpid())}
        return subprocess.Popen(command, start_new_session=True, env=env)

    return start
