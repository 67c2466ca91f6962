"""An installation with a broker and a store of its own, whose workers fail on purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kombu import Connection, Producer

from app.bootstrap import build_runtime
from app.cli.serving import celery_arguments
from app.jobs import JobState, JobStatus
from app.manifests import read_runs
from app.queues import EXCHANGE, queue_name
from app.settings import Settings
from tests.support.forked import Forked
from tests.support.supervised import Supervised
from tests.support.tiny_model import build_tiny_model
from tests.support.waiting import wait_for

_HEARTBEAT_S = "0.5"  # what waits for heartbeats waits a quarter of the usual time
_ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class PrivateCluster:
    """Where its processes find everything, and what they left in the store."""

    def __init__(self, services: Any, folder: Path, **env: str) -> None:
        build_tiny_model(folder / "models" / "tiny")
        self.folder = folder
        self.env = services.env | {
            "TILECHORD_BROKER_URL": services.rabbitmq.new_vhost(),
            "TILECHORD_STORE_URL": f"file://{folder / 'store'}",
            "TILECHORD_MODELS_PATH": str(folder / "models"),
            "TILECHORD_MODEL": "tiny",
            "TILECHORD_HEARTBEAT_S": _HEARTBEAT_S,
            "TILECHORD_THREADS": "1",
            **env,
        }
        values: dict[str, Any] = {
            name.removeprefix("TILECHORD_").lower(): value for name, value in self.env.items()
        }
        for name in ("pools", "bigger_pool", "pool_placing"):
            if name in values:
                values[name] = json.loads(values[name])
        self.runtime = build_runtime(Settings.model_validate(values))

    def control(self, name: str = "control") -> Supervised:
        return self._supervised(name, celery_arguments(["control"], name))

    def worker(
        self, name: str, fault: str = "nothing", *, seed: int = 0, tile: int = 0, pool: str = "gpu"
    ) -> Supervised:
        """A worker that meets *fault* at one tile of one seed."""
        arguments = celery_arguments(["gpu"], name)  # by the settings of this process
        arguments[arguments.index(queue_name("gpu"))] = queue_name(pool)
        faulty = ["-m", "tests.support.faulty_worker", fault, str(seed), str(tile)]
        return self._supervised(name, [*faulty, *arguments[arguments.index("worker") :]])

    def wait_ready(self, name: str) -> None:
        """Wait until the first process of this name takes work."""
        log = self.folder / f"{name}.log"
        wait_for(lambda: log.exists() and b" ready." in log.read_bytes(), limit_s=120)

    def python(self, *arguments: str) -> Any:
        """What a Python process prints as JSON."""
        process = Forked(arguments, env={**os.environ, **self.env})
        output, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        return json.loads(output)

    def dead(self, *arguments: str) -> Any:
        """What ``tilechord dead`` prints."""
        return self.python("-m", "app.cli", "dead", *arguments, "--json")

    def submit(self, request: dict[str, Any]) -> str:
        sent = self.python("-m", "tests.support.client", "submit", json.dumps(request))
        return str(sent["job_id"])

    def wait_for_end(self, job_id: str) -> JobStatus:
        status = self.runtime.ledger.status
        wait_for(lambda: status(job_id).state in _ENDS, limit_s=180, every_s=0.1)
        return status(job_id)

    def executed(self, job_id: str) -> dict[str, int]:
        """How often each unit of the job was rendered."""
        plan = self.runtime.ledger.plan(job_id)
        units = [run.unit for run in read_runs(self.runtime.store, plan)]
        return {unit: units.count(unit) for unit in units}

    def publish(self, body: Any, *, pool: str = "gpu", **options: Any) -> None:
        """Put a message into a pool's queue that no task of ours has sent."""
        with Connection(self.env["TILECHORD_BROKER_URL"]) as connection:
            Producer(connection.channel()).publish(
                body, exchange=EXCHANGE, routing_key=f"{pool}.tile.tiny", **options
            )

    def _supervised(self, name: str, arguments: list[str]) -> Supervised:
        return Supervised(arguments, {**os.environ, **self.env}, self.folder / f"{name}.log")
