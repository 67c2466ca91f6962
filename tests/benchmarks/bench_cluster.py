"""What the cluster costs per tile: real RabbitMQ, Redis, S3 and workers, a renderer of known time.

Run: ``python -m tests.benchmarks.bench_cluster``. Overhead is wall time times workers minus
compute, per tile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from app.cli.serving import celery_arguments
from tests.benchmarks.ground import servers_in, tiny_env
from tests.support.cluster import Cluster
from tests.support.tiny_model import build_tiny_model
from tests.support.waiting import wait_until_ready

_TILE_PX = 64
_CASES = ((1, 0.0, 20), (2, 0.0, 20), (2, 0.1, 14))  # workers, seconds a tile, tiles a side


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_tiny_model(folder / "models" / "tiny")
        with servers_in(folder) as site:
            _measure(Cluster(tiny_env(site, folder / "models"), folder))


def _measure(cluster: Cluster) -> None:
    console = Console()
    console.print("workers  s/tile  tiles   wall s  tiles/s  overhead ms/tile  parallel efficiency")
    for seed, (workers, seconds, side) in enumerate(_CASES):
        with service_workers(cluster, workers, seconds):
            size = side * _TILE_PX
            request = {"prompt": "b", "height": size, "width": size, "tile": _TILE_PX}
            request |= {"overlap": 0, "nsr": 0.25, "seed": seed}  # one phase
            manifest = cluster.client("render", request)
            spans = [run for run in cluster.runs(manifest["job_id"]) if "tile" in run.unit]
            tiles = len(spans)
            busy = max(run.started_ms + 1000 * run.seconds for run in spans) / 1000
            wall = busy - min(run.started_ms for run in spans) / 1000
            overhead = 1e3 * (wall * workers / tiles - seconds)
            efficiency = f"{tiles * seconds / (workers * wall):.3f}" if seconds else "-"
            console.print(
                f"{workers:>7} {seconds:>7.2f} {tiles:>6} {wall:>8.2f} {tiles / wall:>8.0f} "
                f"{overhead:>17.1f}  {efficiency:>19}"
            )


@contextmanager
def service_workers(cluster: Cluster, workers: int, seconds: float) -> Iterator[None]:
    """A control worker and *workers* that take *seconds* for a tile, while the block lasts."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        _start(cluster, workers, seconds, processes)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(
    cluster: Cluster, workers: int, seconds: float, processes: list[subprocess.Popen[bytes]]
) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.service_worker"]
    pools = ["control", *["gpu"] * workers]
    for number, pool in enumerate(pools):
        arguments = celery_arguments([pool], f"b{number}")
        log = cluster.logs / f"b{number}-{workers}-{seconds}.log"
        processes.append(
            subprocess.Popen(
                [*command, str(seconds), *arguments[arguments.index("worker") :]],
                env=os.environ | cluster.env,
                stdout=log.open("wb"),
                stderr=subprocess.STDOUT,
            )
        )
        wait_until_ready(log, processes[-1])


if __name__ == "__main__":
    main()
