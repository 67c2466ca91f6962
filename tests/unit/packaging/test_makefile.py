from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Run:
    """Runs make where the only programs are those in the test's own folder."""
    program = shutil.which("make")
    if program is None:
        pytest.skip("make is not installed")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, f"BIN={tmp_path}", "SUDO=sudo", *arguments]
        env = {"PATH": str(tmp_path)}
        return subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str], None]:
    """Puts a program that does nothing where make finds it."""

    def write(name: str) -> None:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)

    return write


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        (["python"], ["update", "install --yes --no-install-recommends prometheus"]),
        (["python", "prometheus"], []),
    ],
    ids=["missing", "there"],
)
def test_prometheus_is_installed_from_fresh_lists_when_it_is_missing(
    programs: list[str], said: list[str], make: Run, install: Callable[[str], None]
) -> None:
    for name in programs:
        install(name)

    done = make("--old-file=setup", "system", "APT=echo")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said


def test_prometheus_that_cannot_be_installed_is_told_with_the_command(
    make: Run, install: Callable[[str], None]
) -> None:
    install("python")

    done = make("--old-file=setup", "system", "APT=false")

    assert done.returncode == 2
    told = "prometheus must be installed, run: sudo apt-get install prometheus"
    assert told in done.stderr.splitlines()


def test_a_python_that_cannot_be_installed_is_told_with_the_command(
    make: Run, tmp_path: Path
) -> None:
    done = make("setup", f"VENV={tmp_path / 'venv'}", "PYTHON=false", "APT=false")

    assert done.returncode == 2
    packages = "python3 python3-venv"
    told = f"{packages} must be installed, run: sudo apt-get install {packages}"
    assert told in done.stderr.splitlines()
    assert not (tmp_path / "venv").exists()
