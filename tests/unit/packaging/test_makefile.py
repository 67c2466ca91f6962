from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        (["python"], ["update", "install --yes --no-install-recommends prometheus"]),
        (["python", "prometheus"], []),
    ],
    ids=["missing", "there"],
)
def test_prometheus_is_installed_from_fresh_lists_when_it_is_missing(
    programs: list[str], said: list[str], tmp_path: Path
) -> None:
    for name in programs:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    command = [make, "--old-file=setup", "system", f"BIN={tmp_path}", "SUDO=", "APT=echo"]

    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == said
