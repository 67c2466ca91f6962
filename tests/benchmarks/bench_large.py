"""Time and memory of one large picture on two CPU workers: real servers, the bundled model.

Run as ``python -m tests.benchmarks.bench_large [SIDE] [PICTURE.jpg]``, SIDE 8192 if left out: a
quarter of it is denoised in tiles, super-resolution makes the rest. A thumbnail of the result is
written to PICTURE. Memory is the peak resident set of each process (VmHWM), libraries included.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rich.console import Console

from app.cluster import servers
from app.domain.errors import RenderFailedError
from app.schemas import Manifest
from tests.benchmarks.ground import servers_in
from tests.support.cluster import Cluster, running
from tests.support.forked import started

_WORKERS = {"control": "control", "w1": "gpu", "w2": "gpu"}
_UPSCALE = 4
_LIMIT_GB = 2.5
_REPORT_S = 60.0


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 8192
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with _installation() as cluster, running(cluster, _WORKERS):
        idle = {name: _memory_gb(cluster, name) for name in _WORKERS}
        start = time.monotonic()
        job_id = cluster.client("submit", _request(side))["job_id"]
        manifest = _followed(cluster, job_id)
        seconds = time.monotonic() - start
        peaks = {name: _memory_gb(cluster, name) for name in _WORKERS}
        _tell(cluster, manifest, seconds, idle, peaks)
        if target is not None:
            data = cluster.runtime.store.get(manifest.images[0].key)
            _thumbnail(data, target)


def _request(side: int) -> dict[str, object]:
    return {
        "prompt": "desert coast with turquoise shallows",
        "width": side,
        "height": side,
        "mode": "refine",
        "upscale": _UPSCALE,
        "seed": 1,
    }


@contextmanager
def _installation() -> Iterator[Cluster]:
    """Broker, results and store of this run alone; they end with it."""
    with tempfile.TemporaryDirectory(prefix="tilechord-large-") as name:
        folder = Path(name)
        with servers_in(folder) as site:
            yield Cluster(servers.client_env(site), folder, started)


def _followed(cluster: Cluster, job_id: str) -> Manifest:
    """The manifest of the job; a line a minute tells how far it is."""
    ledger, console, told = cluster.runtime.ledger, Console(stderr=True), 0.0
    while not ledger.has_result(job_id):
        if (reason := ledger.failure(job_id)) is not None:
            raise RenderFailedError(reason)
        if time.monotonic() - told > _REPORT_S:
            told = time.monotonic()
            peaks = " ".join(f"{name} {_memory_gb(cluster, name):.2f}" for name in _WORKERS)
            console.print(f"{len(cluster.runs(job_id))} units done, peaks in GB: {peaks}")
        time.sleep(1.0)
    return ledger.result(job_id)


def _memory_gb(cluster: Cluster, name: str) -> float:
    """The largest resident set the worker has had."""
    status = Path(f"/proc/{cluster.workers[name].pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e9


def _tell(
    cluster: Cluster,
    manifest: Manifest,
    seconds: float,
    idle: dict[str, float],
    peaks: dict[str, float],
) -> None:
    console = Console()
    plan = cluster.runtime.ledger.plan(manifest.job_id)
    console.print(f"{plan.spec.width}x{plan.spec.height} px, seconds of work: {manifest.timings}")
    console.print("side, px | tiles | cores | wall s | worker | peak GB | of it before the job")
    for name, peak in peaks.items():
        console.print(
            f"{plan.spec.width} | {plan.cost.tiles} | {plan.cost.cores} | {seconds:.0f} | "
            f"{name} | {peak:.2f} | {idle[name]:.2f}"
        )
    console.print(f"quality: {manifest.quality}")
    verdict = "below" if max(peaks.values()) <= _LIMIT_GB else "ABOVE"
    console.print(f"every worker {verdict} {_LIMIT_GB} GB")


def _thumbnail(data: bytes, target: Path) -> None:
    Image.MAX_IMAGE_PIXELS = None  # ours, and as large as it should be
    picture = Image.open(io.BytesIO(data))
    picture.thumbnail((1024, 1024))
    picture.convert("RGB").save(target, quality=88)


if __name__ == "__main__":
    main()
