"""The broker takes an order, and its client never hears of it."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History
from tests.faults.nemesis import Field
from tests.faults.outcome import left
from tests.faults.proxy import Way
from tests.faults.renderer import clean_pictures
from tests.faults.submitter import end_of
from tests.support.tiny_model import build_tiny_model
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
REQUEST = {"prompt": "islands", "height": 128, "width": 128, "tile": 64, "overlap": 16}
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


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confirm")
    build_tiny_model(folder / "models" / "tiny")
    history = History(folder / "history.jsonl")
    with Ground(folder, folder / "models") as ground, Fleet(ground, history) as fleet:
        fleet.start({"control": "control", "w1": "gpu"})
        yield Field(ground, fleet, history)


@pytest.fixture(scope="module")
def order(field):
    """Sends a request under a job id of the caller's choice, and tells what became of it."""
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
        return client.stdout.readline().strip()

    yield send
    client.stdin.close()
    client.wait(timeout=30)


def starts(field, plan):
    """How often a worker began each unit of *plan*."""
    return Counter(
        event["unit"] for event in field.history.events("start") if event["plan"] == plan.hash
    )


def check_one_job(field, job_id):
    """The job ends with the clean picture, and nothing was done for it twice."""
    ledger = field.runtime.ledger
    wait_for(lambda: end_of(ledger, job_id), limit_s=60)
    plan = ledger.plan(job_id)
    assert [image.sha256 for image in ledger.result(job_id).images] == clean_pictures(plan)
    assert set(starts(field, plan).values()) == {1}
    assert wait_for(lambda: not left(field), limit_s=30)


def test_an_order_whose_confirmation_is_lost_is_sent_once_more_and_is_one_job(field, order):
    assert order("first", seed=1) == "taken"  # its connection is the one that loses answers
    link = field.ground.links["client"].broker

    link.lose_answers()
    assert order("second", seed=2) == "taken"
    link.heal()

    check_one_job(field, "second")
    assert field.runtime.ledger.job_ids() == ["first", "second"]


def test_a_refused_order_that_had_arrived_is_rendered_when_it_is_given_again(field, order):
    assert order("third", seed=3) == "taken"
    link = field.ground.links["client"].broker

    link.blackhole(Way.DOWN)
    began = time.monotonic()
    assert order("fourth", seed=4) == "refused"
    took_s = time.monotonic() - began
    link.heal()
    assert field.runtime.entries.find("fourth") is None  # nobody will work on it
    assert order("fourth", seed=4) == "taken"

    check_one_job(field, "fourth")
    assert took_s < 10
