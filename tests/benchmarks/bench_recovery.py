"""How soon work goes on after a fault: real servers and workers, tiles of a known time.

Run: ``python -m tests.benchmarks.bench_recovery``. Times are from what a row names to the moment a
worker begins the interrupted unit again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.support.tiny_model import build_tiny_model

_REQUEST = {"prompt": "b", "height": 640, "width": 640, "tile": 64, "overlap": 0, "mode": "phased"}
_TILE_S = 1.0
_LIMIT_S = 120.0
_TIMES = {"dead worker": 10, "frozen worker": 4, "broker killed": 3, "submit under alarm": 3}
_GOALS_S = {"dead worker": 5, "frozen worker": 8, "broker killed": 15, "submit under alarm": 10}
_SUBMIT = """
import json, sys, time
from app.domain.errors import BrokerUnavailableError
from app.tasks import render
start = time.monotonic()
try:
    render.delay(json.loads(sys.argv[1]))
except BrokerUnavailableError:
    print(time.monotonic() - start)
"""


@dataclass
class Scene:
    """A cluster at work on one long job."""

    ground: Ground
    fleet: Fleet
    history: History

    def submit(self, seed: int) -> subprocess.CompletedProcess[str]:
        """Order a picture, and tell how long a refusal took."""
        return subprocess.run(
            [sys.executable, "-c", _SUBMIT, json.dumps(_REQUEST | {"seed": seed, "steps": 1})],
            env=os.environ | self.ground.env("client"),
            capture_output=True,
            text=True,
            check=True,
            timeout=_LIMIT_S,
        )

    def next_start(self, since: float, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first unit begun after *since* that is *wanted*."""
        deadline = time.monotonic() + _LIMIT_S
        while time.monotonic() < deadline:
            for event in self.history.events("start"):
                if event["t"] >= since and wanted(event):
                    return event
            time.sleep(0.02)
        raise TimeoutError("no such unit was begun")


def main() -> None:
    console = Console()
    console.print(f"{'fault':<20} {'times':>5} {'median s':>9} {'p95 s':>6} {'goal s':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_tiny_model(folder / "models" / "tiny")
        history = History(folder / "history.jsonl")
        tile_ms = str(round(1000 * _TILE_S))
        with (
            Ground(folder, folder / "models") as ground,
            Fleet(ground, history, tile_ms) as fleet,
        ):
            scene = Scene(ground, fleet, history)
            fleet.start({"control": "control", "w1": "gpu"})
            for seed, measure in enumerate((_dead, _frozen, _broker, _alarm)):
                scene.submit(seed)
                row, seconds = measure(scene)
                _print(console, row, list(seconds))


def _dead(scene: Scene) -> tuple[str, Iterable[float]]:
    """The only worker dies within a tile; from the moment its successor takes work."""

    def once() -> float:
        unit = _begun(scene, "w1")
        births = scene.fleet.nodes["w1"].births
        since = time.time()
        scene.fleet.signal("w1", signal.SIGKILL)
        scene.fleet.wait(lambda: scene.fleet.nodes["w1"].births > births, "a birth", _LIMIT_S)
        scene.fleet.wait_ready("w1")
        ready = time.time()
        again = scene.next_start(since, lambda event: event["unit"] == unit["unit"])
        return max(0.0, again["t"] - ready)

    return "dead worker", _repeat("dead worker", once)


def _frozen(scene: Scene) -> tuple[str, Iterable[float]]:
    """One of two workers freezes within a tile; from that moment."""
    scene.fleet.start({"w2": "gpu"})

    def once() -> float:
        unit = _begun(scene, "w1")
        since = time.time()
        scene.fleet.signal("w1", signal.SIGSTOP)
        try:
            again = scene.next_start(
                since, lambda event: event["unit"] == unit["unit"] and event["node"] != "w1"
            )
        finally:
            scene.fleet.signal("w1", signal.SIGCONT)
        return float(again["t"] - since)

    return "frozen worker", _repeat("frozen worker", once)


def _broker(scene: Scene) -> tuple[str, Iterable[float]]:
    """RabbitMQ is killed; from the moment it is ready again until both workers work."""

    def once() -> float:
        _begun(scene, "w1")
        scene.ground.broker.kill()
        time.sleep(2 * _TILE_S)  # what was begun before has ended
        scene.ground.broker.start()
        ready = time.time()
        begun = [
            scene.next_start(ready - 0.2, lambda event, node=node: event["node"] == node)["t"]
            for node in ("w1", "w2")
        ]
        return max(0.0, max(begun) - ready)

    return "broker killed", _repeat("broker killed", once)


def _alarm(scene: Scene) -> tuple[str, Iterable[float]]:
    """RabbitMQ takes no message; how long a client waits for its refusal."""

    def once() -> float:
        scene.ground.ctl("set_vm_memory_high_watermark", "0")
        try:
            return float(scene.submit(99).stdout)
        finally:
            scene.ground.ctl("set_vm_memory_high_watermark", "0.6")

    return "submit under alarm", _repeat("submit under alarm", once)


def _begun(scene: Scene, node: str) -> dict[str, Any]:
    """A tile that *node* has begun just now, half done when this returns."""
    unit = scene.next_start(
        time.time(), lambda event: event["node"] == node and "tile" in event["unit"]
    )
    time.sleep(_TILE_S / 2)
    return unit


def _repeat(row: str, once: Callable[[], float]) -> Iterable[float]:
    return (once() for _ in range(_TIMES[row]))


def _print(console: Console, row: str, seconds: list[float]) -> None:
    middle, late = np.percentile(seconds, [50, 95])
    console.print(f"{row:<20} {len(seconds):>5} {middle:>9.2f} {late:>6.2f} {_GOALS_S[row]:>7}")


if __name__ == "__main__":
    main()
