import socket
import time
import urllib.request
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from app.domain.errors import StorageUnavailableError
from app.settings import Settings
from app.telemetry import serve


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_port_serves_nothing():
    assert serve.serve_metrics(Settings(metrics_port=0)) is None


def test_the_endpoint_answers_on_the_port_that_was_set():
    port = serve.serve_metrics(Settings(metrics_port=free_port()))

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        assert b"tilechord_units_done_total" in response.read()


def test_a_taken_port_is_reported_and_the_worker_goes_on(caplog):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = Settings(metrics_port=holder.getsockname()[1])

        assert serve.serve_metrics(taken) is None

    assert [record.message for record in caplog.records] == ["metrics.unavailable"]


def test_a_task_is_counted_under_the_stage_it_is_called_after():
    task = SimpleNamespace(name="workers.tasks.core")
    labels = {"stage": "core", "reason": "StorageUnavailableError"}
    before = REGISTRY.get_sample_value("tilechord_retries_total", labels) or 0

    serve._count_retry(sender=task, reason=SimpleNamespace(exc=StorageUnavailableError("gone")))

    assert REGISTRY.get_sample_value("tilechord_retries_total", labels) == before + 1


def waits(queue, priority):
    """Number and sum of the waits observed so far."""
    labels = {"queue": queue, "priority": priority}
    return [
        REGISTRY.get_sample_value(f"tilechord_time_in_queue_seconds_{name}", labels) or 0
        for name in ("count", "sum")
    ]


def taken(pool, *, priority=5, retries=0, **headers):
    """Tell that a task was taken from the queue of *pool*."""
    delivery = {"routing_key": f"{pool}.tile.atlas", "priority": priority}
    request = SimpleNamespace(delivery_info=delivery, retries=retries, **headers)
    serve._observe_wait(task=SimpleNamespace(request=request))


@pytest.mark.parametrize(
    ("level", "name"), [(9, "high"), (1, "low"), (3, "other")], ids=["high", "low", "foreign"]
)
def test_a_wait_is_observed_by_queue_and_priority(level, name):
    taken("waited", priority=level, sent_at=time.time() - 60)

    count, seconds = waits("render.waited.v1", name)
    assert count == 1
    assert 60 <= seconds < 70


def test_a_sender_whose_clock_is_ahead_makes_no_negative_wait():
    taken("ahead", sent_at=time.time() + 60)

    assert waits("render.ahead.v1", "normal") == [1, 0]


def test_retries_and_senders_that_do_not_date_are_left_out():
    taken("left-out", retries=1, sent_at=time.time())
    taken("left-out")

    assert waits("render.left-out.v1", "normal") == [0, 0]
