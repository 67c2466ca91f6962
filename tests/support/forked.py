"""Python processes that are forked, with torch imported already, instead of started.

``python -m tests.support.forked SOCKET -m MODULE …`` is one that a shell can start.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from signal import (
    SIG_BLOCK,
    SIG_UNBLOCK,
    SIGINT,
    SIGKILL,
    SIGTERM,
    Signals,
    pthread_sigmask,
    signal,
)
from typing import IO

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
_OPEN_LIMIT_S = 120.0
_LOOK_S = 0.5
_opening = threading.Lock()  # supervised processes begin in threads of their own


class Forked:
    """``python ARGUMENTS`` with the interface of ``subprocess.Popen``, as far as tests need it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path = ROOT,
        log: IO[bytes] | None = None,
    ) -> None:
        """Both output streams go to *log*, or are kept apart for ``communicate``."""
        self.args = list(arguments)
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._streams = (log, log) if log else (_scratch(), _scratch())
        with Path(os.devnull).open("rb") as nothing:
            streams = [stream.fileno() for stream in (nothing, *self._streams)]
            self._owned, self.pid = _bear(nursery(), self.args, env, cwd, streams)

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._owned], [], [], 0)[0]:
                end = self._owned.recv(64)
                self.returncode = int(json.loads(end)) if end else -SIGKILL  # with the nursery
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises ``subprocess.TimeoutExpired``."""
        limit_s = float("inf") if timeout is None else timeout
        deadline = time.monotonic() + limit_s
        while (code := self.poll()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise subprocess.TimeoutExpired(self.args, limit_s)
            select.select([self._owned], [], [], min(left_s, _LOOK_S))
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to its streams once it has ended."""
        self.wait(timeout)
        texts = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read().decode())
            stream.close()
        return texts[0], texts[1]

    def send_signal(self, number: Signals) -> None:
        if self.poll() is None:
            _send(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        self.send_signal(SIGKILL)


Process = Forked | subprocess.Popen[str]


def started(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    log: IO[bytes] | None = None,
) -> subprocess.Popen[str]:
    """The same as a user starts it: nothing is imported, and no memory is shared."""
    output = log or subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=dict(env),
        cwd=cwd,
        stdout=output,
        stderr=output,
        text=True,
    )


def _bear(
    path: Path, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, streams: Sequence[int]
) -> tuple[socket.socket, int]:
    """Where the end of a new child will be told, and its process id."""
    owned = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owned.connect(str(path))
    order = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
    socket.send_fds(owned, [json.dumps(order).encode()], list(streams))
    return owned, int(json.loads(owned.recv(64)))


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # the nursery may have buried it a moment ago
        os.kill(pid, number)


def _scratch() -> IO[bytes]:
    return tempfile.TemporaryFile()


def nursery() -> Path:
    """Socket of the one nursery of this process, which ends with it."""
    with _opening:
        return _nursery()


@cache
def _nursery() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="nursery-")
    path = Path(folder.name) / "orders"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.nursery", str(path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
    )
    atexit.register(_close, process, folder)
    wait_for(lambda: path.exists() or process.poll() is not None, limit_s=_OPEN_LIMIT_S)
    if process.poll() is not None:
        raise RuntimeError(f"the nursery ended with exit code {process.returncode}")
    return path


def _close(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    process.communicate()
    folder.cleanup()


def main(path: str, *arguments: str) -> int:
    """Exit code of a child that has this process's streams and gets its signals."""
    stops = (SIGINT, SIGTERM)
    pthread_sigmask(SIG_BLOCK, stops)  # one that comes before its child is known waits for it
    owned, pid = _bear(Path(path), arguments, os.environ, Path.cwd(), (0, 1, 2))
    for number in stops:
        signal(number, lambda got, _: _send(pid, got))
    pthread_sigmask(SIG_UNBLOCK, stops)
    code = int(json.loads(owned.recv(64)))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
