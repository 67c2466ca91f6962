"""Each protection against loss, how to take it away, and the tests that must notice.

``python -m tests.faults.unprotected [NAME …]`` copies the tree, takes one protection away at a
time, and runs its tests in the copy. Each of them has to fail: those that pass are told, and the
exit code is 1. A test that has never failed proves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.protection import Edit, Protection
from tests.faults.protections import PROTECTIONS

ROOT = Path(__file__).parent.parent.parent
_LEFT_OUT = (".git", ".venv", ".tilechord", "__pycache__", ".*_cache", ".hypothesis", "build")
_LIMIT_S = 420.0
_PASSED, _FAILED = 0, 1
_ENDLESS = "FAILED no end within"
_TOLD = (
    *("FAILED ", "ERROR "),
    *("lost: ", "without an end: ", "mixed: ", "failed: ", "rendered again: ", "left over: "),
)


@dataclass(frozen=True)
class Finding:
    """What the tests said when one protection was gone."""

    name: str
    is_noticed: bool
    """Whether all of them failed."""
    seconds: float
    said: list[str]


@contextmanager
def without(root: Path, edits: tuple[Edit, ...]) -> Iterator[None]:
    """The tree at *root* with *edits* made; it is as before afterwards."""
    before = {edit.path: (root / edit.path).read_text() for edit in edits}
    try:
        for edit in edits:
            text = (root / edit.path).read_text()
            if text.count(edit.old) != 1:
                raise ValueError(f"{edit.path} must have {edit.old!r} once")
            (root / edit.path).write_text(text.replace(edit.old, edit.new))
        yield
    finally:
        for path, text in before.items():
            (root / path).write_text(text)


def look(root: Path, protection: Protection) -> Finding:
    """Take *protection* out of the tree at *root* and run its tests."""
    began = time.monotonic()
    outputs = []
    with without(root, protection.edits):
        if protection.tests:
            pytest = ["-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "--timeout=120"]
            outputs.append(_run(root, [*pytest, *protection.tests]))
        if protection.soak:
            outputs.append(_run(root, ["-m", "tests.faults.soak", *shlex.split(protection.soak)]))
    seconds = round(time.monotonic() - began, 1)
    said = [line for _, text in outputs for line in text.splitlines() if line.startswith(_TOLD)]
    is_noticed = all(code == _FAILED for code, _ in outputs)
    if not any(line.startswith(_ENDLESS) for line in said):
        silent = [test for test in protection.tests if not any(test in line for line in said)]
        said += [f"PASSED {test}" for test in silent]
        is_noticed = is_noticed and not silent
    return Finding(protection.name, is_noticed, seconds, said)


def _run(root: Path, arguments: list[str]) -> tuple[int, str]:
    """Exit code and output; what does not end in time has failed too."""
    env = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "300", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=root,
        env=env | {"OMP_NUM_THREADS": "1", "TILECHORD_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        text, _ = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it ends what it started
        text, _ = process.communicate(timeout=_LIMIT_S)
        return _FAILED, f"{text}\n{_ENDLESS} {_LIMIT_S:g} s"
    return process.returncode, text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="all unless told")
    parser.add_argument("--list", action="store_true", help="list the protections")
    parser.add_argument("--report", type=Path, help="where the findings go as JSON")
    arguments = parser.parse_args()
    if arguments.list:
        sys.stdout.write("\n".join(PROTECTIONS) + "\n")
        return _PASSED
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
    findings = []
    with tempfile.TemporaryDirectory(prefix="tilechord-protections-") as name:
        root = Path(name) / "tree"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        for wanted in arguments.names or PROTECTIONS:
            findings.append(finding := look(root, PROTECTIONS[wanted]))
            verdict = "noticed" if finding.is_noticed else "NOT NOTICED"
            lines = [f"{verdict:<12} {finding.name}, {finding.seconds} s", *finding.said[:12]]
            sys.stdout.write("\n    ".join(lines) + "\n")
            sys.stdout.flush()
            if arguments.report:
                report = json.dumps([asdict(each) for each in findings], indent=1)
                arguments.report.write_text(report + "\n")
    return _PASSED if all(finding.is_noticed for finding in findings) else _FAILED


if __name__ == "__main__":
    sys.exit(main())
