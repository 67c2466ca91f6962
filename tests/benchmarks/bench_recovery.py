"""How soon work goes on after a fault: real servers and workers, tiles of a known time.

Run: ``python -m tests.benchmarks.bench_recovery [ROW …]``. A dead worker's time is from the
moment its successor takes work to the one it begins the interrupted unit again; a frozen worker's
from the moment it stopped to the one another worker begins its unit; a killed broker's from its
being ready to both workers' beginning a unit; a refusal's is what the client waited for it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.support.tiny_model import build_tiny_model

_REQUEST = {"prompt": "b", "height": 640, "width": 640, "tile": 64, "overlap": 0}
_REQUEST |= {"mode": "phased", "steps": 4}  # 400 tiles: more than a row takes
_TILE_S = 1.0
_LIMIT_S = 120.0
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
            [sys.executable, "-c", _SUBMIT, json.dumps(_REQUEST | {"seed": seed})],
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {sorted(_ROWS)}")
    parser.add_argument("--report", type=Path, help="where the seconds go as JSON")
    arguments, found = parser.parse_args(), dict[str, list[float]]()
    console = Console()
    console.print(f"{'fault':<8} {'times':>5} {'median s':>9} {'p95 s':>6} {'goal s':>7}")
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
            for seed, row in enumerate(arguments.rows or _ROWS):
                scene.submit(seed)
                found[row] = _measure(scene, row)
                _print(console, row, found[row])
    if arguments.report:
        arguments.report.write_text(json.dumps(found, indent=1) + "\n")


def _measure(scene: Scene, row: str) -> list[float]:
    once, times, _ = _ROWS[row]
    if row in _OF_TWO and "w2" not in scene.fleet.nodes:
        scene.fleet.start({"w2": "gpu"})
    seconds = []
    for number in range(times):
        seconds.append(round(once(scene), 2))
        sys.stderr.write(f"{row}, {number + 1} of {times}: {seconds[-1]} s\n")
    return seconds


def _dead(scene: Scene) -> float:
    """The only worker dies within a tile; from the moment its successor takes work."""
    unit = _begun(scene, "w1")
    births = scene.fleet.nodes["w1"].births
    since = time.time()
    scene.fleet.signal("w1", signal.SIGKILL)
    scene.fleet.wait(lambda: scene.fleet.nodes["w1"].births > births, "a birth", _LIMIT_S)
    scene.fleet.wait_ready("w1")
    ready = time.time()
    again = scene.next_start(since, lambda event: _is_same(event, unit))
    return max(0.0, again["t"] - ready)


def _frozen(scene: Scene) -> float:
    """One of two workers freezes within a tile; from that moment."""
    unit = _begun(scene, "w1")
    since = time.time()
    scene.fleet.signal("w1", signal.SIGSTOP)
    try:
        again = scene.next_start(
            since, lambda event: _is_same(event, unit) and event["node"] != "w1"
        )
    finally:
        scene.fleet.signal("w1", signal.SIGCONT)
    return float(again["t"] - since)


def _broker(scene: Scene) -> float:
    """RabbitMQ is killed; from the moment it is ready again until both workers work."""
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


def _alarm(scene: Scene) -> float:
    """RabbitMQ takes no message; how long a client waits for its refusal."""
    scene.ground.ctl("set_vm_memory_high_watermark", "0")
    try:
        return float(scene.submit(99).stdout)
    finally:
        scene.ground.ctl("set_vm_memory_high_watermark", "0.6")


def _is_same(event: dict[str, Any], unit: dict[str, Any]) -> bool:
    """Whether both are of one unit of one plan: every job has a tile 3."""
    return bool((event["plan"], event["unit"]) == (unit["plan"], unit["unit"]))


def _begun(scene: Scene, node: str) -> dict[str, Any]:
    """A tile that *node* has begun just now, half done when this returns."""
    unit = scene.next_start(
        time.time(), lambda event: event["node"] == node and "tile" in event["unit"]
    )
    time.sleep(_TILE_S / 2)
    return unit


_ROWS: dict[str, tuple[Callable[[Scene], float], int, float]] = {
    "dead": (_dead, 20, 5.0),
    "frozen": (_frozen, 8, 8.0),
    "broker": (_broker, 5, 15.0),
    "alarm": (_alarm, 5, 10.0),
}
"""What measures a fault once, how often, and the seconds it may take."""
_OF_TWO = {"frozen", "broker"}


def _print(console: Console, row: str, seconds: list[float]) -> None:
    middle, late = np.percentile(seconds, [50, 95])
    console.print(f"{row:<8} {len(seconds):>5} {middle:>9.2f} {late:>6.2f} {_ROWS[row][2]:>7.0f}")


if __name__ == "__main__":
    main()
