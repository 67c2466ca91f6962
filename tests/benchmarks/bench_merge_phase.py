"""Peak memory of merging latents, in a process of its own per canvas.

Run: ``python -m tests.benchmarks.bench_merge_phase``. Tiles are synthetic, blending and storing
are the real code; the baseline of each row is the same process before it merges.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from app.domain.planner import Limits
from app.merging import merge_phase
from app.pictures.codecs import encode_array
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import SD15, plan

_SIZES = ((4, 16384, 16384), (4, 32768, 16384), (16, 16384, 16384), (16, 32768, 16384))


class _Tiles(MemoryStore):
    """One synthetic tile in the place of all, and nothing kept of what is written."""

    def __init__(self, tile: NDArray[np.float32]) -> None:
        super().__init__()
        self._tile = encode_array(tile)

    def get(self, key: str) -> bytes:
        return self._tile

    def put(self, key: str, data: bytes) -> bool:
        return True


def main() -> None:
    if len(sys.argv) > 1:
        _measure(*(int(text) for text in sys.argv[1:]))
        return
    console = Console()
    console.print("channels  canvas px     peak MB  of it merging  Mlatent/s")
    for size in _SIZES:
        command = [sys.executable, "-m", "tests.benchmarks.bench_merge_phase", *map(str, size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        console.print(done.stdout.rstrip())


def _measure(channels: int, height: int, width: int) -> None:
    card = replace(SD15, latent_channels=channels)
    limits = Limits(max_canvas_mpx=10_000, max_tiles=100_000, max_count=1)
    render = plan(card, limits, height=height, width=width, tile=1024, overlap=256)
    phase = render.phases[0]
    box, parts = phase.tiles[0], 2 if phase.splits_noise else 1
    tile = np.random.default_rng(0).random((parts * channels, box.height, box.width), np.float32)
    store = _Tiles(tile)
    before = _peak_mb()
    start = time.perf_counter()
    merge_phase(store, render, 0, 0)
    seconds = time.perf_counter() - start
    speed = channels * render.canvas.area / seconds / 1e6
    sys.stdout.write(
        f"{channels:>8}  {width}x{height} {_peak_mb():>8.0f} {_peak_mb() - before:>14.0f} "
        f"{speed:>10.1f}\n"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
