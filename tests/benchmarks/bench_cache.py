"""How soon an identical order is answered, from sending it to having its manifest.

Run: ``python -m tests.benchmarks.bench_cache [SIDE …]``. The bundled model, in one process and then
on real servers with a control worker and one rendering worker; of the repeated orders none executes
a unit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from app.cluster import servers
from tests.benchmarks.ground import servers_in
from tests.support.cluster import Cluster, running
from tests.support.forked import started

_SIDES_PX = ("512", "1024")
_AGAIN = 20
_WAIT_S = 1200
_GOAL_MS = 300


def main(sides_px: list[str]) -> None:
    console = Console()
    console.print(
        f"{'where':<9} {'px':>5} {'first s':>8} {'again ms':>9} {'worst ms':>9} {'ratio':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = {"TILECHORD_STORE_URL": f"file://{folder / 'store'}"}
        _show(console, "embedded", sides_px, alone | {"TILECHORD_BROKER_URL": "memory://"})
        with servers_in(folder) as site:
            env = servers.client_env(site) | {"TILECHORD_THREADS": "1"}
            cluster = Cluster(env, folder, started)
            with running(cluster, {"control": "control", "w1": "gpu"}):
                _show(console, "cluster", sides_px, cluster.env)


def _show(console: Console, where: str, sides_px: list[str], env: dict[str, str]) -> None:
    for side in sides_px:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.bench_cache", "--client", side],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        again_ms = [1e3 * seconds for seconds in found["again_s"]]
        ratio = 1e3 * found["first_s"] / median(again_ms)
        console.print(
            f"{where:<9} {side:>5} {found['first_s']:>8.2f} {median(again_ms):>9.1f} "
            f"{max(again_ms):>9.1f} {ratio:>7.0f}{'' if max(again_ms) < _GOAL_MS else '  too slow'}"
        )


def _measure(side_px: int) -> dict[str, Any]:
    """What a client waits for its order, and for the same order again."""
    from app.settings import settings

    request = {"prompt": "green islands in a turquoise lagoon", "height": side_px, "width": side_px}
    if settings().is_embedded:
        from app.embedded import worker

        block = worker()
    else:
        block = nullcontext()  # type: ignore[assignment]
    with block:
        first_s, first = _timed(request)
        repeated = [_timed(request) for _ in range(_AGAIN)]
    assert not first["cached"]
    for _, manifest in repeated:
        assert manifest["cached"]
        assert manifest["executions"] == first["executions"]
        assert manifest["images"][0]["sha256"] == first["images"][0]["sha256"]
    return {"first_s": first_s, "again_s": [seconds for seconds, _ in repeated]}


def _timed(request: dict[str, object]) -> tuple[float, dict[str, Any]]:
    from app.tasks import render

    start = time.perf_counter()
    manifest = dict(render.delay(request).get(timeout=_WAIT_S, interval=0.005))
    return time.perf_counter() - start, manifest


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        sys.stdout.write(json.dumps(_measure(int(sys.argv[2]))))
    else:
        main(sys.argv[1:] or list(_SIDES_PX))
