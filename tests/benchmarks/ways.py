"""Ways to do one thing, each in a process of its own, whose peak memory is then its own."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from workers.vae import Pixels

PICTURE = Path("docs/images/demo.png")


def run_ways(module: str, header: str, ways: Sequence[str], sides: Sequence[int]) -> None:
    """Print *header* and the row that *module* gives for each of *ways* at each of *sides*."""
    console = Console()
    console.print(header)
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            for way in ways:
                command = [sys.executable, "-m", module, way, str(side), folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                if done.stdout:
                    console.print(done.stdout.rstrip())


def read_picture(side: int) -> Pixels:
    """The README's picture, ``(side, side, 3)`` float32 in ``[0, 1]``."""
    picture = Image.open(PICTURE).convert("RGB").resize((side, side))
    return np.asarray(picture, np.float32) / 255.0


def peak_mb() -> float:
    """The most memory that this process has held, in 1e6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
