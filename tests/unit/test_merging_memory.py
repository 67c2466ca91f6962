import subprocess
import sys

import pytest


def peak_mb(height: int) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.bench_merge_phase", "4", str(height), "8192"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[2])


def test_the_memory_of_a_merge_does_not_grow_with_the_height():
    assert peak_mb(8192) == pytest.approx(peak_mb(4096), rel=0.1)
