"""Peak memory of child processes: what the merges hold must not grow with the picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def printed(module: str, *arguments: object) -> list[str]:
    """The words a benchmark prints when it is run for one case."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def assembly_mb(kind: str, height: int) -> float:
    return float(printed("bench_merge", "--child", kind, 4096, height)[0])


def merge_mb(height: int) -> float:
    return float(printed("bench_merge_phase", 4, height, 8192)[2])


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_the_memory_of_a_picture_does_not_grow_with_the_height(kind: str) -> None:
    # Held whole, the taller canvas would add 38 MB to about 120.
    assert assembly_mb(kind, 6144) < assembly_mb(kind, 3072) * 1.1


def test_the_memory_of_a_merge_does_not_grow_with_the_height() -> None:
    assert merge_mb(8192) == pytest.approx(merge_mb(4096), rel=0.1)
