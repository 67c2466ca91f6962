"""The end of a job, told while somebody takes it back."""

from dataclasses import replace
from itertools import product

import pytest

from app.celery import celery
from app.entries import entry_of
from app.jobs import JobLedger
from app.outcomes import reopen, settle
from app.schemas import read_request
from app.storage.memory import MemoryStore
from tests.support.turns import Turns, interleave
from tests.unit.scheduling.scene import Scene

REQUEST = read_request({"prompt": "a map"})
MOST_STEPS = 20
"""More than a client in these tests takes on the store."""


@pytest.fixture
def app():
    """A job that has failed and is still in line."""
    scene = Scene()
    scene.submit("job")
    scene.runtime.ledger.fail("job", "tile 3: broken")
    return scene.runtime


def resume(runtime):
    reopen(runtime, entry_of("job", REQUEST))


def seen_through(store, runtime):
    return replace(runtime, store=store, ledger=JobLedger(store))


def test_a_job_that_is_reopened_while_its_end_is_told_stays_in_line(app, monkeypatch):
    def wait_for_redis(*_):
        resume(app)

    monkeypatch.setattr(celery.backend, "mark_as_failure", wait_for_redis)

    settle(app, "job")

    assert [entry.job_id for entry in app.entries.all()] == ["job"]
    assert not app.ledger.has_ended("job")


def test_a_reopened_job_stays_in_line_whenever_its_end_was_looked_at(app, monkeypatch):
    told, lost = [], []
    backend = type(celery.backend)  # each thread has one of its own
    monkeypatch.setattr(backend, "mark_as_failure", lambda *given: told.append(str(given[2])))
    clients = (
        (lambda one: settle(one, "job"), resume),
        (resume, lambda one: settle(one, "job")),
    )
    for pair, first, second in product(clients, range(MOST_STEPS), range(1, MOST_STEPS)):
        store = MemoryStore()
        for key in app.store.keys(""):
            store.put(key, app.store.get(key))
        steps = [lambda seen, act=act: act(seen_through(seen, app)) for act in pair]
        interleave(store, Turns(first, second), tuple(steps))
        here = seen_through(store, app)
        if here.ledger.has_ended("job") or here.entries.find("job") is None:
            lost.append((clients.index(pair), first, second))

    assert lost == []
    assert set(told) == {"tile 3: broken"}


def test_what_ended_leaves_the_line(app):
    assert settle(app, "job")

    assert app.entries.all() == []
    assert app.board.listen(0.0) == [{"kind": "ended", "job_id": "job"}]


def test_what_is_said_of_a_job_while_its_end_is_told_goes_with_it(app, monkeypatch):
    monkeypatch.setattr(celery.backend, "mark_as_failure", lambda *_: app.entries.pause("job"))

    settle(app, "job")

    assert app.entries.keys("job") == []
