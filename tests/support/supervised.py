"""Python processes that are started again whenever they end, as a supervisor does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.forked import Forked

_STOP_LIMIT_S = 30
_BREATH_S = 0.2


class Supervised:
    """One command, running again and again until the block ends."""

    def __init__(self, arguments: Sequence[str], env: dict[str, str], log: Path) -> None:
        self._arguments = list(arguments)
        self._env = env
        self._log = log
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._process: Forked | None = None
        self.ends: list[int] = []
        """How its processes ended, as ``Popen.returncode``."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join(_STOP_LIMIT_S)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _run(self) -> None:
        while not self._ending.is_set():
            with self._log.open("ab") as log:
                self._process = Forked(self._arguments, env=self._env, log=log)
            if self._ending.is_set():  # between the look and the start
                self._process.kill()
            self.ends.append(self._process.wait())
            self._ending.wait(_BREATH_S)
