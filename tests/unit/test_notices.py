"""That a job is not wanted is told to workers as well as it can be; nobody relies on it."""

import threading
from contextlib import nullcontext

import pytest
from amqp.exceptions import AccessRefused
from celery.worker.control import Panel
from kombu.exceptions import OperationalError

from app import notices
from app.celery import celery
from app.remote import unwanted
from app.settings import Settings
from tests.support.waiting import wait_for

CLUSTER = Settings(broker_url="amqp://guest:guest@127.0.0.1:1//")


@pytest.fixture
def heard(monkeypatch):
    jobs = []
    monkeypatch.setattr(notices, "_listeners", [jobs.append])
    return jobs


class Producer:
    """Keeps what is published."""

    def __init__(self):
        self.sent = []

    def publish(self, message, **options):
        self.sent.append((message, options))


@pytest.fixture
def sent(monkeypatch):
    """What is sent to all workers, each with the options of its publishing."""
    producer = Producer()
    monkeypatch.setattr(celery, "producer_or_acquire", lambda: nullcontext(producer))
    return producer.sent


def test_workers_are_told_with_the_command_that_they_know(sent, heard):
    notices.send(CLUSTER, "job")

    ((message, _),) = sent
    Panel.data[message["method"]](None, **message["arguments"])
    assert heard == ["job"]


def test_a_silent_broker_is_not_asked_for_ever(sent):
    notices.send(CLUSTER, "job")

    ((_, options),) = sent
    assert options["retry_policy"] == celery.conf.task_publish_retry_policy


def test_inside_one_process_nothing_is_sent(sent, heard):
    notices.send(Settings(broker_url="memory://"), "job")

    assert (sent, heard) == ([], ["job"])


@pytest.mark.parametrize("job_id", ["x" * 101, ["job"], None])
def test_what_is_no_jobs_id_is_passed_to_nobody(job_id, heard):
    unwanted(None, job_id)

    assert heard == []


@pytest.mark.parametrize(
    "error", [OperationalError("connection refused"), AccessRefused("no"), RuntimeError("closed")]
)
def test_a_broker_that_does_not_take_it_is_no_failure(error, monkeypatch, heard):
    def fail():
        raise error

    monkeypatch.setattr(celery, "producer_or_acquire", fail)

    notices.send(CLUSTER, "job")

    assert heard == []


def test_every_listener_hears(monkeypatch, heard):
    others = []
    notices.listen(others.append)

    unwanted(None, "job")

    assert heard == others == ["job"]


def test_who_does_not_wait_has_it_sent_all_the_same(sent):
    notices.send_meanwhile(CLUSTER, "job")

    wait_for(lambda: sent, limit_s=10)


def test_who_does_not_wait_in_one_process_is_heard_at_once(sent, heard):
    notices.send_meanwhile(Settings(broker_url="memory://"), "job")

    assert (sent, heard) == ([], ["job"])


def test_a_silent_broker_holds_up_nobody_and_a_few_threads(monkeypatch):
    is_back, asked = threading.Event(), []

    def wait():
        asked.append(None)
        is_back.wait(60)
        raise OperationalError("connection refused")

    monkeypatch.setattr(celery, "producer_or_acquire", wait)
    before = threading.active_count()

    for number in range(100):
        notices.send_meanwhile(CLUSTER, f"job-{number}")

    try:
        assert threading.active_count() - before <= 8
    finally:
        is_back.set()
    wait_for(lambda: threading.active_count() <= before, limit_s=10)
    asked.clear()
    notices.send_meanwhile(CLUSTER, "later")
    wait_for(lambda: asked, limit_s=10)


def test_a_process_without_threads_to_spare_gives_the_place_back(monkeypatch, sent):
    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for _ in range(100):
            notices.send_meanwhile(CLUSTER, "job")

    notices.send_meanwhile(CLUSTER, "job")

    wait_for(lambda: sent, limit_s=10)
