"""A process dies at each named place in turn; the job it worked on ends with the same picture."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.crash_points import CONTROL_POINTS, WORKER_POINTS
from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.faults.nemesis import Field
from tests.faults.renderer import clean_pictures
from tests.faults.submitter import end_of
from tests.support.tiny_model import build_tiny_model

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
REQUEST = {
    "prompt": "islands",
    "height": 112,
    "width": 112,
    "tile": 64,
    "overlap": 16,
    "mode": "phased",
    "steps": 2,
}
CLIENT = """
import json, sys
from app.tasks import render
for line in sys.stdin:
    order = json.loads(line)
    render.apply_async(args=(order["request"],), task_id=order["job_id"])
    print(order["job_id"], flush=True)
"""
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    build_tiny_model(folder / "models" / "tiny")
    history = History(folder / "history.jsonl")
    with Ground(folder, folder / "models") as ground, Fleet(ground, history) as fleet:
        fleet.start({"control": "control", "w1": "gpu"})
        yield Field(ground, fleet, history)


@pytest.fixture(scope="module")
def order(field):
    """Sends a request under a job id of the caller's choice."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        cwd=ROOT,
        env=os.environ | field.ground.env("client"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def send(job_id, seed):
        client.stdin.write(json.dumps({"job_id": job_id, "request": REQUEST | {"seed": seed}}))
        client.stdin.write("\n")
        assert client.stdout.readline().strip() == job_id

    yield send
    client.stdin.close()
    client.wait(timeout=30)


def wait_for(condition):
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def crashes(field):
    return {(event["node"], event["point"]) for event in field.history.events("crash")}


POINTS = [("w1", point) for point in WORKER_POINTS] + [
    ("control", point) for point in CONTROL_POINTS
]


@pytest.mark.parametrize(
    ("number", "node", "point"),
    [(number, *each) for number, each in enumerate(POINTS)],
    ids=[f"{node}-{point}" for node, point in POINTS],
)
def test_a_job_survives_a_death_at(number, node, point, field, order):
    ledger, job_id = field.runtime.ledger, f"crash-{number:03d}"
    field.fleet.wait_ready(node)
    field.fleet.arm(node, point)

    order(job_id, seed=number)
    wait_for(lambda: (node, point) in crashes(field))
    wait_for(lambda: end_of(ledger, job_id))

    assert ledger.failure(job_id) is None
    pictures = [image.sha256 for image in ledger.result(job_id).images]
    assert pictures == clean_pictures(ledger.plan(job_id))
