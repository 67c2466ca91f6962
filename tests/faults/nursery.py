"""Forks workers from a process that has imported torch: a new one works within a second.

Reads orders from standard input, one JSON object a line: ``name``, ``pool``, ``env``, ``log``.
Tells on standard output who was born and who died. Ends all when its input ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

_POLL_S = 0.05


def main() -> None:
    _import_everything_heavy()
    _tell(event="open")
    children: dict[int, str] = {}
    pending = b""
    while True:
        if select.select([0], [], [], _POLL_S)[0]:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = _fork(order)
                children[pid] = order["name"]
                _tell(event="born", name=order["name"], pid=pid)
        _bury(children)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _import_everything_heavy() -> None:
    """Nothing that reads settings: each child has its own environment."""
    import celery.bin.worker
    import celery.worker
    import kombu.transport.pyamqp

    import app.cli.serving
    import workers.bootstrap
    from app.settings import settings

    del celery, kombu, app, workers  # imported for the children
    settings.cache_clear()


def _bury(children: dict[int, str]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _tell(event="died", name=children.pop(pid), pid=pid, status=status)


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _become(order)
        from tests.faults.worker import main as work

        work(order["name"], order["pool"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # must not return into the nursery's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(order["env"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.argv = ["tilechord", "worker"]
    Path(order["log"]).touch()


def _tell(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
