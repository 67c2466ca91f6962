"""Peak memory and speed of merging a large canvas from synthetic tiles, and of measuring it.

Run as ``python -m tests.benchmarks.bench_merge [SIDE] [FORMAT ...]``.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CORE = 1024
TILE, OVERLAP, LATENT = 512, 128, 8


def merge(kind, width, height):
    """Peak MB of this process, megapixels per second with the tiles' decoding, CPU s of quality."""
    from app.domain.geometry import Box
    from app.domain.quality import Profiler
    from app.pictures.assemble import assemble
    from app.pictures.codecs import decode_pixels, encode_pixels
    from app.pictures.recipe import Recipe

    cores = [
        Box(top, left, min(top + CORE, height), min(left + CORE, width))
        for top in range(0, height, CORE)
        for left in range(0, width, CORE)
    ]
    blob = encode_pixels(synthetic_tile())

    def load(index):
        core = cores[index]
        return decode_pixels(blob)[: core.height, : core.width]

    profiler, observed_s = Profiler(height, width), 0.0

    def observe(rows):
        nonlocal observed_s
        begun = time.thread_time()
        profiler.add(rows)
        observed_s += time.thread_time() - begun

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        recipe = Recipe({"prompt": "synthetic"}, "hash", "0")
        target = Path(folder) / "picture"
        assemble(height, width, cores, load, target, format=kind, recipe=recipe, observe=observe)
        begun = time.thread_time()
        figures(profiler.result(), height, width)
        observed_s += time.thread_time() - begun
        seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return peak_mb, height * width / 1e6 / seconds, observed_s


def figures(profiles, height, width):
    """What is measured on every result, with the grid of Stable Diffusion."""
    from app.domain.geometry import Box
    from app.domain.quality import SeamGrid, measure, seam_axis
    from app.domain.tiling import plan_axis

    tile, overlap = TILE // LATENT, OVERLAP // LATENT
    rows, columns = (
        plan_axis(side // LATENT, tile, overlap, wraps=False).spans for side in (height, width)
    )
    grid = SeamGrid(
        *(
            seam_axis(side, spans, cuts=range(0, side // LATENT, CORE // LATENT), latent=LATENT)
            for side, spans in ((height, rows), (width, columns))
        )
    )
    tiles = [
        Box(top, left, bottom, right).scaled(LATENT)
        for top, bottom in rows
        for left, right in columns
    ]
    base = np.roll(profiles.cells, 1, axis=0)
    return measure(profiles, grid, tiles=tiles, start=base).figures


def synthetic_tile():
    """Smooth shapes with a little grain: compresses about as a photograph does."""
    random = np.random.default_rng(0)
    tile = np.empty((CORE, CORE, 3), np.uint8)
    for row in range(CORE):  # row by row: the making must not be the peak
        phases = np.arange(3) + 7 * np.linspace(0, 1, CORE)[:, None]
        grain = random.normal(0, 4, (CORE, 3))
        tile[row] = (127 + 90 * np.sin(phases + 9 * row / CORE) + grain).clip(0, 255)
    return tile


def main():
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 16384
    formats = sys.argv[2:] or ["png", "jpeg", "tiff"]
    heading = f"{'format':8}{'width x height':>16}{'peak MB':>10}{'MP/s':>8}{'quality s':>11}"
    print(heading)  # noqa: T201
    for kind in formats:
        for height in (side, 2 * side):
            command = [sys.executable, "-m", "tests.benchmarks.bench_merge", "--child", kind]
            run = subprocess.run(
                [*command, str(side), str(height)], capture_output=True, text=True, check=True
            )
            peak_mb, rate, quality_s = (float(word) for word in run.stdout.split())
            size = f"{side} x {height}"
            print(f"{kind:8}{size:>16}{peak_mb:10.0f}{rate:8.1f}{quality_s:11.1f}")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(*merge(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))  # noqa: T201
    else:
        main()
