"""Servers, workers and a client of one module's tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.faults.nemesis import Field
from tests.support.tiny_model import build_tiny_model
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
CLIENT = """
import json, sys
from app.domain.errors import BrokerUnavailableError
from app.tasks import render
for line in sys.stdin:
    order = json.loads(line)
    try:
        render.apply_async(args=(order["request"],), task_id=order["job_id"])
        print("taken", flush=True)
    except BrokerUnavailableError:
        print("refused", flush=True)
"""

LONG = {"prompt": "islands", "height": 256, "width": 256, "tile": 64, "overlap": 16, "nsr": 0.25}

Order = Callable[[str, dict[str, Any]], str]


@pytest.fixture(scope="module")
def new_field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Field]]:
    """Makes servers and the workers of *nodes*, name by pool; *prepare* comes between them."""
    with ExitStack() as stack:

        def make(
            nodes: dict[str, str],
            *,
            tile_ms: str = "20-50",
            prepare: Callable[[Ground], object] = lambda _: None,
            **settings: str,
        ) -> Field:
            folder = tmp_path_factory.mktemp("field")
            build_tiny_model(folder / "models" / "tiny")
            history = History(folder / "history.jsonl")
            ground = stack.enter_context(Ground(folder, folder / "models", settings))
            fleet = stack.enter_context(Fleet(ground, history, tile_ms))
            prepare(ground)
            fleet.start(nodes)
            return Field(ground, fleet, history)

        yield make


@pytest.fixture(scope="module")
def field(new_field: Callable[..., Field]) -> Field:
    """One worker that renders and one that does not."""
    return new_field({"control": "control", "w1": "gpu"})


@pytest.fixture(scope="module")
def order(field: Field) -> Iterator[Order]:
    """Sends a request under a job id of the caller's choice: it is ``taken`` or ``refused``."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        cwd=ROOT,
        env=os.environ | field.ground.env("client"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert client.stdin
    assert client.stdout

    def send(job_id: str, request: dict[str, Any]) -> str:
        client.stdin.write(json.dumps({"job_id": job_id, "request": request}) + "\n")
        return client.stdout.readline().strip()

    yield send
    client.stdin.close()
    client.wait(timeout=30)


@pytest.fixture
def start_job(field: Field, order: Order) -> Callable[[str], None]:
    """Orders a picture of its own under a job id; returns when ``w1`` is at work on it."""

    def start(job_id: str) -> None:
        seed = len(field.runtime.ledger.job_ids())
        assert order(job_id, LONG | {"seed": seed}) == "taken"
        wait_for(lambda: _has_begun(field, job_id, "w1"), limit_s=60)

    return start


@pytest.fixture
def second_worker(field: Field) -> Iterator[Callable[[], None]]:
    """One to take over, for a single test; it ends when told, or with the test."""
    fleet = field.fleet

    def end() -> None:
        fleet.retire("w2")
        fleet.signal("w2", signal.SIGTERM)
        fleet.wait(lambda: not fleet.nodes["w2"].pid, "w2 has gone", 60)

    fleet.start({"w2": "gpu"})
    yield end
    end()


def _has_begun(field: Field, job_id: str, node: str) -> bool:
    ledger = field.runtime.ledger
    if not ledger.has_plan(job_id):
        return False
    wanted = (ledger.plan(job_id).hash, node)
    return any((event["plan"], event["node"]) == wanted for event in field.history.events("start"))
