"""Starting and ending processes without ever touching a stranger's.

A process id alone is no proof: once its process has ended, the kernel gives the number to
another one. A ``Process`` therefore also holds when it started, and a signal goes through a
pidfd, which keeps meaning the process it was opened for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import ConfigurationError

_PROC = Path("/proc")
_POLL_S = 0.05
# After SIGKILL only the kernel is left to act; seconds pass only while a disk hangs.
_KILL_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one boot of this machine."""

    pid: int
    started: str
    """Boot id and start time in clock ticks since that boot."""


def identify(pid: int) -> Process | None:
    """The process that has *pid* now; None when there is none or only its exit status is left."""
    found = _stat(pid)
    return _process(pid, found) if found and found.state not in "ZX" else None


def is_running(process: Process) -> bool:
    return identify(process.pid) == process


def start(argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path) -> Process:
    """Start *argv* in a session of its own, its output appended to *log* (created 0600)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal must not end the cluster
        )
    except OSError as err:
        raise ConfigurationError(f"{argv[0]} cannot be started: {err.strerror}") from err
    finally:
        os.close(descriptor)
    found = _stat(child.pid)
    assert found is not None, "a child keeps its entry until its exit status is collected"
    # Collects it, if this process lives that long: a zombie would hold the id.
    threading.Thread(target=child.wait, daemon=True).start()
    return _process(child.pid, found)


def stop(graces_s: Mapping[Process, float]) -> None:
    """End all processes and their descendants: SIGTERM, and SIGKILL after each one's grace.

    A process that is no longer the one recorded is left alone.
    """
    began = time.monotonic()
    leaders = [process for process in graces_s if is_running(process)]
    # Noted before the signal: an orphan is adopted by init and cannot be found afterwards.
    families = {leader: [leader, *_descendants(leader)] for leader in leaders}
    for leader in leaders:
        _send(leader, signal.SIGTERM)
    for leader in sorted(leaders, key=graces_s.__getitem__):
        _wait([leader], limit_s=began + graces_s[leader] - time.monotonic())
        for process in families[leader]:
            _send(process, signal.SIGKILL)
    for family in families.values():
        _wait(family, limit_s=_KILL_LIMIT_S)


def _send(process: Process, number: signal.Signals) -> None:
    """Signal *process* unless it has ended; the check and the signal mean the same process."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            if is_running(process):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _wait(processes: Iterable[Process], *, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while any(is_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _descendants(leader: Process) -> list[Process]:
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))):
            parents.setdefault(found.parent, []).append(int(entry.name))
    reached: list[Process] = []
    waiting = [leader.pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        waiting.extend(children)
        reached.extend(child for pid in children if (child := identify(pid)))
    return reached


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    parent: int
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may contain anything.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], parent=int(fields[1]), start_ticks=int(fields[19]))


def _process(pid: int, found: _Stat) -> Process:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return Process(pid, f"{boot}/{found.start_ticks}")
