"""What the queue costs per tile, embedded: the real tasks and chords around an instant renderer.

Run: ``python -m tests.benchmarks.bench_queue``. The baseline of the same run calls the same
number of renders in a plain loop, store included.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

_TILES_PER_SIDE = (8, 20, 44)
_TILE_PX = 64


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "TILECHORD_STORE_URL": "memory://bench",
            "TILECHORD_MODELS_PATH": folder,
            "TILECHORD_MODEL": "tiny",
            "TILECHORD_BROKER_URL": "memory://",
        }
        _measure(Path(folder))


def _measure(folder: Path) -> None:
    from rich.console import Console

    from app import embedded
    from app.bootstrap import runtime
    from app.tasks import render
    from tests.support import instant_renderer
    from tests.support.tiny_model import build_tiny_model

    build_tiny_model(folder / "tiny")
    instant_renderer.install(instant_renderer.InstantRenderer())
    console = Console()
    console.print(
        f"{'tiles':>6} {'ms per tile':>12} {'loop':>7} {'queue alone':>12} {'tasks/s':>8}"
    )
    with embedded.worker():
        for side in _TILES_PER_SIDE:
            size = side * _TILE_PX
            request = {"prompt": "b", "height": size, "width": size, "tile": _TILE_PX}
            request |= {"overlap": 0, "nsr": 0.25}  # one phase
            start = time.perf_counter()
            manifest = render.delay(request).get(timeout=600, interval=0.01)
            elapsed = time.perf_counter() - start
            plan = runtime().ledger.plan(manifest["job_id"])
            tiles, units = len(plan.phases[0].tiles), manifest["units"]
            loop = _loop_seconds(plan, units)
            console.print(
                f"{tiles:>6} {1e3 * elapsed / units:>12.2f} {1e3 * loop / units:>7.2f} "
                f"{1e3 * (elapsed - loop) / units:>12.2f} {units / elapsed:>8.0f}"
            )


def _loop_seconds(plan, units: int) -> float:  # type: ignore[no-untyped-def]
    """The same renders and writes without any queue, and one merge."""
    from app.domain.work import Stage, work_of
    from app.merging import assemble_picture, merge_phase
    from app.storage.memory import MemoryStore
    from tests.support.instant_renderer import InstantRenderer

    store, renderer = MemoryStore(), InstantRenderer()
    start = time.perf_counter()
    for group in work_of(plan):
        for work in group:
            if work.stage is Stage.MERGE:
                merge_phase(store, plan, work.image, work.phase)
            elif work.stage is Stage.PICTURE:
                assemble_picture(store, plan, work.image)
            else:
                store.put(work.key(plan), renderer.render(plan, work, lambda: None))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
