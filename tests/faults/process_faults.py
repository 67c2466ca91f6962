"""Faults of workers: killed, frozen, drained, dying at a named point, with a wrong clock."""

from __future__ import annotations

import signal
from random import Random

from tests.faults.crash_points import CONTROL_POINTS, WORKER_POINTS
from tests.faults.nemesis import Field, MissedError, Nemesis
from tests.faults.worker import SKEW


class _OfOneWorker(Nemesis):
    """Hurts one worker that is alive."""

    subject = "workers"

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.node = ""
        self.births = 0

    def choose(self, rng: Random) -> dict[str, object]:
        """Any of the nodes, ready or not: a worker may be hurt while it starts."""
        alive = [name for name in sorted(self.nodes()) if self.field.fleet.nodes[name].pid]
        if not alive:
            raise MissedError("no worker is alive")
        self.node = rng.choice(alive)
        self.births = self.field.fleet.nodes[self.node].births
        return {"node": self.node, "process": self.field.fleet.nodes[self.node].pid}

    def nodes(self) -> list[str]:
        return self.field.renderers

    def heal(self) -> None:
        if self.node:
            fleet, node = self.field.fleet, self.field.fleet.nodes[self.node]
            fleet.wait(lambda: node.births > self.births, f"{self.node} is born again", 60)
            fleet.wait_ready(self.node)


class WorkerKill(_OfOneWorker):
    name = "worker-kill"

    def inject(self, rng: Random) -> dict[str, object]:
        told = self.choose(rng)
        self.field.fleet.signal(self.node, signal.SIGKILL)
        return told


class WorkerDrain(_OfOneWorker):
    """A rolling restart: the worker finishes what it does and ends."""

    name = "worker-drain"

    def inject(self, rng: Random) -> dict[str, object]:
        told = self.choose(rng)
        self.field.fleet.signal(self.node, signal.SIGTERM)
        return told


class WorkerPause(_OfOneWorker):
    """Frozen past its heartbeats, then back as if nothing had been."""

    name = "worker-pause"
    hold_s = (2.0, 9.0)

    def inject(self, rng: Random) -> dict[str, object]:
        told = self.choose(rng)
        self.field.fleet.signal(self.node, signal.SIGSTOP)
        return told

    def heal(self) -> None:
        if self.node:
            self.field.fleet.signal(self.node, signal.SIGCONT)


class WorkerCrash(_OfOneWorker):
    """Dies by itself when it comes to a named place; counted when it did."""

    name = "worker-crash"
    hold_s = (4.0, 6.0)
    points = WORKER_POINTS

    def inject(self, rng: Random) -> dict[str, object]:
        told = self.choose(rng)
        point, turn = rng.choice(self.points), rng.randint(1, 4)
        self.field.fleet.arm(self.node, point, turn)
        return told | {"point": f"{point}:{turn}"}

    def heal(self) -> None:
        if self.node:
            self.field.fleet.nodes[self.node].armed.unlink(missing_ok=True)


class ClockSkew(_OfOneWorker):
    """A worker whose clock is minutes off; S3 itself refuses more than a quarter of an hour."""

    name = "clock-skew"
    hold_s = (4.0, 8.0)

    def inject(self, rng: Random) -> dict[str, object]:
        told = self.choose(rng)
        seconds = rng.choice([-1, 1]) * rng.randint(60, 3600)
        self.field.fleet.nodes[self.node].env[SKEW] = str(seconds)
        self.field.fleet.signal(self.node, signal.SIGKILL)
        return told | {"seconds": seconds}

    def heal(self) -> None:
        if self.node:
            super().heal()
            self.births = self.field.fleet.nodes[self.node].births
            self.field.fleet.nodes[self.node].env.pop(SKEW, None)
            self.field.fleet.signal(self.node, signal.SIGKILL)
            super().heal()


class _OfControl:
    """The same for the control worker, which plans, merges and dispatches."""

    subject = "control"
    field: Field

    def nodes(self) -> list[str]:
        return self.field.controls


class ControlKill(_OfControl, WorkerKill):
    name = "control-kill"


class ControlPause(_OfControl, WorkerPause):
    name = "control-pause"


class ControlDrain(_OfControl, WorkerDrain):
    name = "control-drain"


class ControlCrash(_OfControl, WorkerCrash):
    name = "control-crash"
    points = CONTROL_POINTS


PROCESS_FAULTS: list[type[Nemesis]] = [
    *(WorkerKill, WorkerDrain, WorkerPause, WorkerCrash, ClockSkew),
    *(ControlKill, ControlDrain, ControlPause, ControlCrash),
]
