from pathlib import Path

from prometheus_client import REGISTRY, generate_latest

from app.domain.errors import ModelError, StorageUnavailableError
from app.live.memory import MemoryBoard
from app.settings import Settings
from app.storage.memory import MemoryStore
from app.telemetry import metrics
from app.telemetry.device import DEVICE
from app.telemetry.queues import QueueCollector
from app.telemetry.store import MeteredStore


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_rendered_unit_counts_once_with_its_seconds():
    labels = {"stage": "tile", "model": "seen-once", "device": "cpu"}

    metrics.unit_done(**labels, seconds=1.5)

    assert value("tilechord_units_done_total", **labels) == 1
    assert value("tilechord_unit_duration_seconds_count", **labels) == 1
    assert value("tilechord_unit_duration_seconds_sum", **labels) == 1.5


def test_a_unit_found_in_the_store_counts_as_a_hit():
    before = value("tilechord_units_present_total", stage="core")

    metrics.unit_present("core")

    assert value("tilechord_units_present_total", stage="core") == before + 1


def test_jobs_are_counted_by_where_their_pictures_came_from():
    before = value("tilechord_jobs_finished_total", source="store")

    metrics.job_finished(is_cached=True)
    metrics.job_finished(is_cached=False)

    assert value("tilechord_jobs_finished_total", source="store") == before + 1


def test_rounds_are_counted_with_their_seconds():
    name = "tilechord_round_latency_seconds"
    count, seconds = value(f"{name}_count"), value(f"{name}_sum")

    metrics.rounds_waited([0.5, 1.25])

    assert value(f"{name}_count") == count + 2
    assert value(f"{name}_sum") == seconds + 1.75


def test_failures_and_retries_are_labelled_by_class_and_never_by_message():
    metrics.work_failed("tile", ModelError("model x has no manifest"))
    metrics.work_retried("tile", StorageUnavailableError("store s3 does not answer"))
    exposition = generate_latest(REGISTRY).decode()

    assert 'tilechord_failures_total{reason="ModelError",stage="tile"}' in exposition
    assert 'tilechord_retries_total{reason="StorageUnavailableError",stage="tile"}' in exposition
    assert "manifest" not in exposition


def test_an_error_outside_our_tree_is_called_internal():
    assert metrics.reason_of(ZeroDivisionError("division by zero")) == "InternalError"


def test_every_metric_carries_the_prefix_and_help():
    families = [family for family in REGISTRY.collect() if family.name.startswith("tilechord_")]

    assert {family.name for family in families} >= {
        "tilechord_units_done",
        "tilechord_unit_duration_seconds",
        "tilechord_units_present",
        "tilechord_failures",
        "tilechord_retries",
        "tilechord_time_in_queue_seconds",
        "tilechord_blob_written_bytes",
        "tilechord_blob_read_bytes",
        "tilechord_model_load_failures",
        "tilechord_worker_info",
    }
    assert all(family.documentation for family in families)


def test_every_metric_is_in_the_operators_page():
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "cluster.md").read_text()
    collector = QueueCollector(Settings(broker_url="amqp://guest:guest@127.0.0.1:1//"))
    collector._board = MemoryBoard()

    own = [family for family in REGISTRY.collect() if family.name.startswith("tilechord_")]
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in [*own, *collector.collect()]
    }

    assert names > {"tilechord_units_done_total", "tilechord_queue_consumers"}
    assert names > {family.name for family in DEVICE.collect()}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_bytes_are_counted_where_they_pass(tmp_path):
    store = MeteredStore(MemoryStore())
    (tmp_path / "picture").write_bytes(b"12345")
    written = value("tilechord_blob_written_bytes_total")
    read = value("tilechord_blob_read_bytes_total")

    store.put("a", b"123")
    store.put_file("b", tmp_path / "picture")
    store.get("a")

    assert value("tilechord_blob_written_bytes_total") - written == 8
    assert value("tilechord_blob_read_bytes_total") - read == 3


def test_a_write_that_came_second_counts_nothing():
    store = MeteredStore(MemoryStore())
    store.put("a", b"123")
    written = value("tilechord_blob_written_bytes_total")

    assert not store.put("a", b"123")

    assert value("tilechord_blob_written_bytes_total") == written
