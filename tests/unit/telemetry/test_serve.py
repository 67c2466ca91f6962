import socket
import urllib.request
from types import SimpleNamespace

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
