"""Workers and clients as processes, for tests of the whole."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.bootstrap import Runtime, build_runtime
from app.canvas import read_window
from app.cli.serving import celery_arguments
from app.domain.errors import NotFoundError
from app.domain.work import Run
from app.manifests import read_runs
from app.pictures.codecs import decode_array
from app.settings import Settings
from tests.support.forked import Forked, Process
from tests.support.waiting import wait_for, wait_until_ready


@dataclass
class Cluster:
    """The environment of one installation, and the workers started in it."""

    env: dict[str, str]
    logs: Path
    start: Callable[..., Process] = Forked
    """How a process begins: forked, or for measurements :func:`~tests.support.forked.started`."""
    workers: dict[str, Process] = field(default_factory=dict)
    _jobs: set[str] = field(default_factory=set)

    def become(self, pools: dict[str, str]) -> None:
        """Start and stop workers until exactly those of *pools* run."""
        for name in [name for name in self.workers if name not in pools]:
            self.stop(name)
        missing = {name: pool for name, pool in pools.items() if name not in self.workers}
        self.start_all(missing)

    def start_all(self, pools: dict[str, str]) -> None:
        """Start workers, name by pool, and wait until they take work."""
        for name, pool in pools.items():
            with (self.logs / f"{name}.log").open("ab") as log:
                self.workers[name] = self.start(
                    celery_arguments([pool], name), env=self._environment(), log=log
                )
        for name in pools:
            self._wait_ready(name)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        process = self.workers.pop(name)
        process.send_signal(number)
        process.wait(timeout=60)

    def kill(self, name: str) -> None:
        self.stop(name, signal.SIGKILL)

    def stop_all(self) -> None:
        for name in list(self.workers):
            self.stop(name, signal.SIGKILL)

    def client(self, verb: str, argument: object, **env: str) -> dict[str, Any]:
        """Run one verb of :mod:`tests.support.client` and return what it prints."""
        return self.finish(self.begin(verb, argument, **env))

    def begin(self, verb: str, argument: object, **env: str) -> Process:
        """Start a client; the jobs that exist now are not its own."""
        self._jobs = set(self.runtime.ledger.job_ids())
        text = argument if isinstance(argument, str) else json.dumps(argument)
        command = ["-m", "tests.support.client", verb, text]
        return self.start(command, env=self._environment() | env)

    def finish(self, process: Process) -> dict[str, Any]:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return dict(json.loads(output.splitlines()[-1]))

    def pixels(self, manifest: dict[str, Any], image: int = 0) -> NDArray[np.int16]:
        """The picture in the store, ``(H, W, 3)``; signed, so that differences do not wrap."""
        data = self.runtime.store.get(manifest["images"][image]["key"])
        return np.asarray(Image.open(io.BytesIO(data))).astype(np.int16)

    def latents(self, manifest: dict[str, Any], image: int = 0) -> NDArray[np.float32]:
        """The finished canvas ``(C, H, W)`` from which the picture was decoded."""
        plan = self.runtime.ledger.plan(manifest["job_id"])

        def read(key: str) -> NDArray[np.float32]:
            return decode_array(self.runtime.store.get(key))

        return read_window(plan, image, len(plan.phases), plan.canvas, read)

    def runs(self, job_id: str) -> list[Run]:
        """Every execution of the job's units so far, in order of their start."""
        try:
            plan = self.runtime.ledger.plan(job_id)
        except NotFoundError:
            return []
        return read_runs(self.runtime.store, plan)

    def rendered_again(self, job_id: str) -> set[str]:
        """Units that were begun after they had been finished; a copy of a slow one is none."""
        finished_ms: dict[str, float] = {}
        again = set()
        for run in self.runs(job_id):
            if run.started_ms > finished_ms.get(run.unit, float("inf")):
                again.add(run.unit)
            end_ms = run.started_ms + 1000 * run.seconds
            finished_ms[run.unit] = min(end_ms, finished_ms.get(run.unit, float("inf")))
        return again

    def wait_for_job(self) -> str:
        """The id of the job that is accepted next."""
        ledger = self.runtime.ledger
        new = wait_for(lambda: set(ledger.job_ids()) - self._jobs, limit_s=60, every_s=0.05)
        return new.pop()

    def wait_for_runs(self, job_id: str, count: int) -> None:
        """Wait until *count* units of the job have been rendered."""
        wait_for(lambda: len(self.runs(job_id)) >= count, limit_s=120, every_s=0.1)

    def inspect(self, command: str) -> dict[str, Any]:
        """What every worker answers to a control command."""
        answers = self.begin("inspect", command).communicate(timeout=60)[0]
        return dict(json.loads(answers))

    def wait_for_active(self, task: str) -> None:
        """Wait until some worker executes *task*."""

        def is_active() -> bool:
            active = self.inspect("active")
            return any(item["name"] == task for items in active.values() for item in items)

        wait_for(is_active, limit_s=60)

    @cached_property
    def runtime(self) -> Runtime:
        """Store and ledger of this installation, seen from the test."""
        values = {
            name.removeprefix("TILECHORD_").lower(): json.loads(value) if "{" in value else value
            for name, value in self.env.items()
            if name.startswith("TILECHORD_")
        }
        return build_runtime(Settings.model_validate(values))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "TILECHORD_THREADS": "1", **self.env}

    def _wait_ready(self, name: str) -> None:
        log = self.logs / f"{name}.log"
        wait_until_ready(log, self.workers[name])
        log.rename(log.with_suffix(f".{self.workers[name].pid}.log"))


@contextmanager
def running(cluster: Cluster, pools: dict[str, str]) -> Iterator[Cluster]:
    """*cluster* with the workers of *pools*, all ended afterwards."""
    try:
        cluster.start_all(pools)
        yield cluster
    finally:
        cluster.stop_all()
