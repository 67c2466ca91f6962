"""That a job is not wanted is told to workers as well as it can be; nobody relies on it."""

import pytest
from celery.worker.control import Panel
from kombu.exceptions import OperationalError

from app import notices
from app.celery import celery
from app.remote import unwanted
from app.settings import Settings

CLUSTER = Settings(broker_url="amqp://guest:guest@127.0.0.1:1//")


@pytest.fixture
def heard(monkeypatch):
    jobs = []
    monkeypatch.setattr(notices, "_listeners", [jobs.append])
    return jobs


@pytest.fixture
def broadcast(monkeypatch):
    """What is sent to all workers."""
    sent = []
    monkeypatch.setattr(
        celery.control, "broadcast", lambda command, arguments: sent.append((command, arguments))
    )
    return sent


def test_workers_are_told_with_the_command_that_they_know(broadcast, heard):
    notices.send(CLUSTER, "job")

    ((command, arguments),) = broadcast
    Panel.data[command](None, **arguments)
    assert heard == ["job"]


def test_inside_one_process_nothing_is_sent(broadcast, heard):
    notices.send(Settings(broker_url="memory://"), "job")

    assert (broadcast, heard) == ([], ["job"])


def test_a_broker_that_is_away_is_no_failure(monkeypatch, heard):
    def fail(*_, **__):
        raise OperationalError("connection refused")

    monkeypatch.setattr(celery.control, "broadcast", fail)

    notices.send(CLUSTER, "job")

    assert heard == []


def test_every_listener_hears(monkeypatch, heard):
    others = []
    notices.listen(others.append)

    unwanted(None, "job")

    assert heard == others == ["job"]
