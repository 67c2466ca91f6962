"""Workers under a supervisor that starts a successor for everyone who dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.faults.crash_points import ARMED_FILE
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.faults.renderer import NODE, TILE_MS, TRACE
from tests.support.forked import Forked

_READY = b" ready."
_RESTART_DELAY_S = 0.2
_MOST_BIRTHS = 3
"""Before it is ready for the first time; then something is wrong with it, not with its world."""
_POLL_S = 0.05


@dataclass
class Node:
    """One place for a worker; its processes come and go."""

    name: str
    pool: str
    env: dict[str, str]
    log: Path
    armed: Path
    """The file that arms a crash point of the running process."""
    pid: int = 0
    births: int = 0
    is_wanted: bool = True
    ready_from: int = 0
    """Where in the log the present process began to write."""

    @property
    def is_ready(self) -> bool:
        """Whether the present process takes work."""
        if not self.pid or not self.log.exists():
            return False
        with self.log.open("rb") as file:
            file.seek(self.ready_from)
            return _READY in file.read()


@dataclass
class Fleet:
    """Starts, signals and restarts workers; tells the history who was born and who died."""

    ground: Ground
    history: History
    tile_ms: str = "20-50"
    nodes: dict[str, Node] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._is_closing = False
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closing = True
        for name in self.nodes:
            self.signal(name, signal.SIGKILL)
        self.wait(lambda: not any(node.pid for node in self.nodes.values()), "all have ended", 60)

    def start(self, pools: dict[str, str]) -> None:
        """Start a worker for each of *pools*, name by pool, and wait until all take work."""
        for name, pool in pools.items():
            folder = self.ground.folder
            armed = folder / f"{name}.armed"
            env = {
                "PATH": os.environ["PATH"],
                **self.ground.env(name),
                NODE: name,
                TRACE: str(self.history.path),
                TILE_MS: self.tile_ms,
                ARMED_FILE: str(armed),
            }
            self.nodes[name] = Node(name, pool, env, folder / f"{name}.log", armed)
            self._bear(self.nodes[name])
        for name in pools:
            self.wait(lambda node=self.nodes[name]: self._has_settled(node), f"{name} works", 90)

    def wait_ready(self, name: str, limit_s: float = 60.0) -> None:
        self.wait(lambda: self.nodes[name].is_ready, f"{name} is ready", limit_s)

    def wait(self, condition: Callable[[], bool], what: str, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {limit_s:.0f} s: {what}")
            time.sleep(_POLL_S)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send *number* to the worker of *name*; 0 when none lives there now."""
        with self._lock:
            pid = self.nodes[name].pid
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            return pid

    def arm(self, name: str, point: str, turn: int = 1, end: str = "") -> None:
        """Let the running worker of *name* die, or *end* as told, when it comes to *point* for the
        *turn*-th time."""
        self.nodes[name].armed.write_text(f"{point}:{turn}:{end}")

    def retire(self, name: str) -> None:
        """Expect no successor from now on."""
        self.nodes[name].is_wanted = False

    def kill_all(self) -> None:
        """End every worker at once and for good."""
        for name in self.nodes:
            self.retire(name)
            self.signal(name, signal.SIGKILL)
        self.wait(lambda: not any(node.pid for node in self.nodes.values()), "all are dead", 30)

    def _has_settled(self, node: Node) -> bool:
        if node.births > _MOST_BIRTHS:
            raise RuntimeError(f"{node.name} dies at its birth:\n{node.log.read_text()[-2000:]}")
        return node.is_ready

    def _bear(self, node: Node) -> None:
        node.ready_from = node.log.stat().st_size if node.log.exists() else 0
        with self._lock, node.log.open("ab") as log:
            if self._is_closing or not node.is_wanted:
                return
            command = ["-m", "tests.faults.worker", node.name, node.pool]
            process = Forked(command, env=node.env, log=log)
            node.pid, node.births = process.pid, node.births + 1
        self.history.add("born", node=node.name, process=process.pid)
        threading.Thread(target=self._bury, args=(node, process), daemon=True).start()

    def _bury(self, node: Node, process: Forked) -> None:
        code = process.wait()
        with self._lock:
            if node.pid == process.pid:
                node.pid = 0
        self.history.add("died", node=node.name, process=process.pid, code=code)
        if node.is_wanted:
            time.sleep(_RESTART_DELAY_S)
            self._bear(node)
