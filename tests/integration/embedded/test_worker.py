"""The worker in this process, with its real queues, pool and a tiny model."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from celery.worker import state
from prometheus_client import REGISTRY

from app import embedded, workflow
from app.bootstrap import runtime
from app.domain.errors import ConfigurationError
from app.tasks import render
from tests.integration.embedded.conftest import REQUEST, WAIT_S, worker_threads

ONE_RUNS = "a process can run one embedded worker at a time, one runs still"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every render that starts until it is set."""
    opened, start = threading.Event(), workflow.start

    def wait_and_start(*arguments):
        opened.wait(WAIT_S)
        return start(*arguments)

    monkeypatch.setattr(workflow, "start", wait_and_start)
    yield opened
    opened.set()


def render_one() -> dict[str, object]:
    return dict(render.delay(REQUEST).get(timeout=WAIT_S, interval=0.01))


def test_a_worker_renders_in_one_block_after_another():
    with embedded.worker():
        first = render_one()
    with embedded.worker():
        second = render_one()

    assert first["images"] == second["images"]
    assert worker_threads() == []


def test_nothing_may_end_the_process_that_an_embedded_worker_is_in(monkeypatch):
    watched = []
    monkeypatch.setattr("app.heartbeat.Watchdog", lambda *_, **limits: watched.append(limits))

    with embedded.worker():
        render_one()

    assert watched == []


@pytest.mark.parametrize("queue", ["render.control.v1", "render.gpu.v1"])
def test_every_message_tells_its_worker_when_it_was_sent(queue):
    labels = {"queue": queue, "priority": "high"}

    with embedded.worker():
        render.delay(REQUEST | {"priority": "high"}).get(timeout=WAIT_S)

    assert REGISTRY.get_sample_value("tilechord_time_in_queue_seconds_count", labels) > 1
    assert REGISTRY.get_sample_value("tilechord_time_in_queue_seconds_sum", labels) < WAIT_S


def test_leaving_the_block_does_not_wait_for_the_worker_to_look():
    with embedded.worker():
        render_one()
        left = time.monotonic()

    assert time.monotonic() - left < 2  # unasked, Celery's loop looks after 2 s and once more
    assert worker_threads() == []


def test_work_left_in_the_queues_ends_with_its_block(gate):
    with embedded.worker():
        left = [render.delay(REQUEST | {"seed": seed}).id for seed in range(20)]
        gate.set()

    with embedded.worker():
        render_one()

    assert not runtime().ledger.has_request(left[-1])


def test_a_second_worker_is_refused_and_the_first_goes_on():
    with embedded.worker():
        with pytest.raises(ConfigurationError) as refusal, embedded.worker("second"):
            pass
        is_first_running = embedded.is_worker_running()
        manifest = render_one()

    assert str(refusal.value) == ONE_RUNS
    assert is_first_running
    assert manifest["units"] == manifest["executions"]


def test_a_device_that_is_not_there_is_told_before_any_work_is_sent(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("TILECHORD_DEVICE", "cuda")

    with pytest.raises(ConfigurationError) as refusal, embedded.worker():
        pass

    assert str(refusal.value) == "TILECHORD_DEVICE: this machine has 0 GPUs, got 'cuda'"
    assert worker_threads() == []


def test_a_worker_that_starts_too_late_ends(monkeypatch):
    monkeypatch.setattr(embedded, "_START_TIMEOUT_S", 0.1)
    monkeypatch.setattr(embedded._Controller, "on_consumer_ready", lambda self, consumer: None)

    with pytest.raises(ConfigurationError) as failure, embedded.worker():
        pass

    assert str(failure.value) == "the embedded worker did not start in 0.1 s"
    assert worker_threads() == []
    assert state.should_stop is None


def test_a_worker_that_outlives_its_block_stays_told_to_stop(gate, monkeypatch):
    monkeypatch.setattr(embedded, "_STOP_TIMEOUT_S", 0.1)
    started = threading.Event()
    wait_and_start = workflow.start
    monkeypatch.setattr(
        workflow, "start", lambda *arguments: (started.set(), wait_and_start(*arguments))[1]
    )

    with embedded.worker():
        render.delay(REQUEST)
        assert started.wait(WAIT_S)
    (thread,) = worker_threads()
    stop_mark = state.should_stop
    with pytest.raises(ConfigurationError) as refusal, embedded.worker():
        pass
    gate.set()
    thread.join(WAIT_S)

    assert stop_mark == 0
    assert str(refusal.value) == ONE_RUNS
    assert not thread.is_alive()
    assert state.should_stop is None


def test_what_vanishes_while_a_job_needs_it_is_rendered_again(monkeypatch: pytest.MonkeyPatch):
    store, lost = runtime().store, []
    put = store.put

    def put_and_lose(key, data):
        is_first = put(key, data)
        if key.endswith("/prepared") and not lost:
            lost.append(key.replace("/prepared", "/prompt-000"))
            store.delete(lost[0])
        return is_first

    monkeypatch.setattr(store, "put", put_and_lose)

    with embedded.worker():
        manifest = render_one()

    assert len(lost) == 1
    assert manifest["executions"] == manifest["units"] + 1
