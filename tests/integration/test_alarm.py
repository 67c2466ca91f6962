"""A broker under a memory alarm: takes what is published, confirms nothing."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("usual_workers")]

SMALL = {
    "prompt": "a map",
    "width": 512,
    "height": 384,
    "tile": 64,
    "overlap": 16,
    "nsr": 0.25,
    "model": "tiny",
}
ORDER = """
import json, sys, time
from app.domain.errors import BrokerUnavailableError
from app.tasks import render
began = time.monotonic()
try:
    manifest = render.apply_async(args=({request!r},), task_id="order-1").get(timeout=120)
    print(json.dumps(manifest))
except BrokerUnavailableError as err:
    print(json.dumps({{"error": str(err), "seconds": time.monotonic() - began}}))
"""


@pytest.fixture
def alarm(services):
    """A block under a memory alarm; none is left behind."""

    @contextmanager
    def raised():
        services.rabbitmq.ctl("set_vm_memory_high_watermark", "0")
        try:
            yield
        finally:
            services.rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")

    return raised


CANCEL = """
import json, time
from app.client import cancel
began = time.monotonic()
cancel({job_id!r})
print(json.dumps({{"seconds": time.monotonic() - began}}))
"""


def order(cluster, request):
    return told(cluster, ORDER.format(request=request))


def told(cluster, program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=cluster._environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def states(services):
    """Of every virtual host's connections; blocked is one that has published under the alarm."""
    return services.rabbitmq.ctl("list_connections", "--quiet", "state").split()[1:]


def test_an_order_under_an_alarm_is_refused_in_time_and_given_again_is_one_job(cluster, alarm):
    request = SMALL | {"seed": 71}
    with alarm():
        refused = order(cluster, request)

    manifest = order(cluster, request)  # the refused message may still be on its way

    assert refused["error"].startswith("broker amqp://")
    assert refused["seconds"] < 10
    assert manifest["job_id"] == "order-1"
    assert manifest["executions"] == manifest["units"]
    assert cluster.runtime.ledger.has_result("order-1")


def test_an_alarm_in_the_middle_of_a_job_costs_time_and_nothing_else(
    cluster, services, reference, alarm
):
    request = SMALL | {"seed": 72, "steps": 60}
    workers = {name: process.pid for name, process in cluster.workers.items()}
    client = cluster.begin("render", request)
    cluster.wait_for_runs(cluster.wait_for_job(), 4)

    with alarm():
        wait_for(lambda: "blocked" in states(services), limit_s=60, every_s=0.5)
    manifest = cluster.finish(client)

    # What a blocked worker had in its hands may have been given to the other one, too.
    assert manifest["units"] <= manifest["executions"] <= manifest["units"] + len(workers)
    assert {name: process.pid for name, process in cluster.workers.items()} == workers
    assert all(process.poll() is None for process in cluster.workers.values())
    alone = reference.client("embedded", request)
    assert abs(cluster.pixels(manifest) - reference.pixels(alone)).max() <= 1


def test_a_job_is_cancelled_under_an_alarm_though_no_worker_can_be_told(cluster, alarm):
    job_id = cluster.client("submit", SMALL | {"seed": 72, "steps": 500})["job_id"]
    with alarm():
        done = told(cluster, CANCEL.format(job_id=job_id))

    assert cluster.runtime.ledger.is_cancelled(job_id)
    assert done["seconds"] < 20
