"""Runs Python commands in forks of a process that has imported torch: seven CPU seconds sooner.

``python -m tests.support.nursery SOCKET`` takes one order a connection: a JSON object of
``arguments`` (those of the interpreter), ``env`` and ``cwd``, beside it the descriptors of the
child's standard streams. It answers with the child's process id and, when that has ended, with its
exit code. All children end with it, and it ends with its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST_ORDER = 2**17
_POLL_S = 0.02


@dataclass
class Nursery:
    """Who was born here, and who wants to know how that ends."""

    listener: socket.socket
    owners: dict[int, socket.socket] = field(default_factory=dict)

    def serve(self) -> dict[str, Any] | None:
        """Run until standard input ends; in a child, return its order at once."""
        while True:
            ready = select.select([0, self.listener], [], [], _POLL_S)[0]
            if self.listener in ready and (order := self._bear()):
                return order
            self._bury()
            if 0 in ready and not os.read(0, 1):
                return None

    def _bear(self) -> dict[str, Any] | None:
        owner, _ = self.listener.accept()
        data, streams, _, _ = socket.recv_fds(owner, LARGEST_ORDER, 3)
        if not data:  # it was killed before it had ordered anything
            return None
        pid = os.fork()
        if not pid:
            _take(streams)
            for inherited in (owner, self.listener, *self.owners.values()):
                inherited.close()
            return dict(json.loads(data))
        for stream in streams:
            os.close(stream)
        self.owners[pid] = owner
        _tell(owner, pid)
        return None

    def _bury(self) -> None:
        while self.owners:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self.owners.pop(pid) as owner:
                _tell(owner, os.waitstatus_to_exitcode(status))

    def end_all(self) -> None:
        for pid in self.owners:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main(path: str) -> None:
    _import_everything_heavy()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{path}.closed")
        listener.listen(64)
        Path(f"{path}.closed").rename(path)  # found from now on
        nursery, order = Nursery(listener), None
        try:
            order = nursery.serve()
        finally:
            if not order:
                nursery.end_all()
    if order:
        _become(order)


def _import_everything_heavy() -> None:
    """Nothing that reads settings: each child has its own environment."""
    import celery.bin.worker
    import celery.worker
    import kombu.transport.pyamqp

    import app.cli.serving
    import workers.loading
    import workers.renderer
    from app.settings import settings

    del celery, kombu, app, workers  # imported for the children
    settings.cache_clear()
    gc.freeze()  # so that children share its pages


def _tell(owner: socket.socket, number: int) -> None:
    with suppress(OSError):  # it may be gone
        owner.send(json.dumps(number).encode())


def _take(streams: list[int]) -> None:
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Whoever started the nursery may have ignored it, as a shell does in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _become(order: dict[str, Any]) -> None:
    """What the interpreter does with ``-m MODULE …`` and ``-c CODE …``."""
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    kind, what, *rest = order["arguments"]
    sys.argv = [what if kind == "-m" else kind, *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main(sys.argv[1])
