import pytest

from app.celery import celery
from app.settings import Settings

LIMITS = {"read_timeout": 2.0, "write_timeout": 2.0}


@pytest.fixture
def broker(monkeypatch):
    chosen = Settings(broker_url="amqp://user:word@127.0.0.1:1//", broker_timeout_s=2)
    monkeypatch.setattr("app.celery.settings", lambda: chosen)
    return chosen


def limits_of(connection):
    return {name: connection.transport_options.get(name) for name in LIMITS}


def test_what_publishes_has_a_time_limit(broker):
    assert limits_of(celery.connection_for_write()) == LIMITS
    assert limits_of(celery.connection()) == LIMITS


def test_what_listens_has_none(broker):
    assert limits_of(celery.connection_for_read()) == dict.fromkeys(LIMITS)


def test_options_of_the_caller_come_on_top(broker):
    connection = celery.connection_for_write(transport_options={"read_timeout": 9.0})

    assert limits_of(connection) == {"read_timeout": 9.0, "write_timeout": 2.0}


def test_in_memory_there_is_nothing_to_limit(monkeypatch):
    monkeypatch.setattr("app.celery.settings", Settings)

    assert limits_of(celery.connection_for_write()) == dict.fromkeys(LIMITS)
