"""What an order that is refused leaves behind: what was there before, and what others ordered."""

import sys
from itertools import product

import pytest
from celery import Task
from kombu.exceptions import OperationalError

from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import BrokerUnavailableError, InvalidRequestError
from app.domain.work import Stage, Work
from app.entries import Entry, entry_of
from app.jobs import JobLedger, JobState
from app.live.memory import MemoryBoard
from app.orders import Order
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from app.tasks import render
from app.tasks.base import plan_job
from tests.support.delivered import DeliveredTask
from tests.support.turns import Turns, interleave
from tests.unit.domain.cards import plan as plan_of
from tests.unit.test_jobs import manifest

FIELDS = {"prompt": "a map"}
REQUEST = read_request(FIELDS)
PLAN = plan_of(height=512, width=512)
SETTINGS = Settings(broker_url="amqp://localhost//")
MOST_STEPS = 16
"""More than a client in these tests takes on the store."""


def installation(store):
    return Runtime(SETTINGS, store, JobLedger(store), Catalogue([]), MemoryBoard())


@pytest.fixture
def app(monkeypatch):
    """An installation whose broker takes nothing that is published."""

    def refuse(*_, **__):
        raise OperationalError("timed out")

    runtime = installation(MemoryStore())
    module = sys.modules["app.tasks.render"]  # the task hides it in its package
    monkeypatch.setattr(module, "runtime", lambda: runtime)
    monkeypatch.setattr(module, "settings", lambda: runtime.settings)
    monkeypatch.setattr(module, "_require_broker", lambda _: None)
    monkeypatch.setattr("app.tasks.base.runtime", lambda: runtime)
    monkeypatch.setattr(Task, "apply_async", refuse)
    return runtime


@pytest.fixture
def taken(app):
    """A job that was accepted and planned, and is half rendered."""
    entry = Entry("job", 5, REQUEST.priority, REQUEST.tenant)
    app.ledger.submit("job", REQUEST)
    app.entries.add(entry)
    app.ledger.accept("job", REQUEST, PLAN)
    app.store.put(Work(Stage.BASE, 0).key(PLAN), b"")
    return entry


def refused():
    with pytest.raises(BrokerUnavailableError):
        render.apply_async(args=(FIELDS,), task_id="job")


def test_a_refused_order_leaves_no_job_and_its_late_message_is_not_planned(app):
    refused()

    assert (app.ledger.job_ids(), app.entries.all()) == ([], [])
    assert plan_job(DeliveredTask(), "job", lambda: REQUEST) is None
    assert app.ledger.is_withdrawn("job")


def test_a_repeated_order_that_is_refused_leaves_the_job_and_its_place_in_line(app, taken):
    refused()

    assert app.entries.all() == [taken]
    assert app.ledger.request("job") == REQUEST
    assert app.ledger.status("job").state is JobState.RUNNING
    assert not app.ledger.is_withdrawn("job")


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda ledger: ledger.fail("job", "tile 3: broken"), JobState.FAILED),
        (lambda ledger: ledger.cancel("job"), JobState.CANCELLED),
        (lambda ledger: ledger.finish(manifest("job")), JobState.SUCCEEDED),
    ],
    ids=["failed", "cancelled", "succeeded"],
)
@pytest.mark.usefixtures("taken")
def test_a_repeated_order_that_is_refused_leaves_the_record_of_a_job_that_ended(app, end, state):
    end(app.ledger)
    app.entries.close("job")
    before = list(app.store.keys("jobs/"))

    refused()

    assert list(app.store.keys("jobs/")) == before
    assert app.ledger.status("job").state is state
    assert app.entries.all() == []


@pytest.mark.usefixtures("taken")
def test_an_order_under_an_id_that_is_anothers_leaves_that_job_in_line(app):
    with pytest.raises(InvalidRequestError, match=r"^job id job belongs to another request$"):
        render.apply_async(args=({"prompt": "a hill"},), task_id="job")

    assert [entry.job_id for entry in app.entries.all()] == ["job"]
    assert app.ledger.request("job") == REQUEST


def test_an_order_whose_client_died_before_the_line_is_put_there_by_the_next_one(app):
    app.ledger.submit("job", REQUEST)

    Order(app, "job", REQUEST).enter()

    assert [entry.job_id for entry in app.entries.all()] == ["job"]


def test_a_job_that_ended_before_its_order_was_refused_keeps_its_end(app):
    order = Order(app, "job", REQUEST)
    order.enter()
    app.ledger.fail("job", "plan: the model is gone")

    order.leave()

    assert app.ledger.status("job").state is JobState.FAILED
    assert app.ledger.request("job") == REQUEST


def test_a_planned_job_that_was_interrupted_outlives_the_refusal_of_its_order(app, taken):
    app.entries.close("job")  # as an embedded worker does when it ends before its jobs

    refused()

    assert app.ledger.has_plan("job")
    assert app.entries.all() == []


def test_a_job_that_another_client_ordered_too_keeps_its_plan_when_the_first_is_refused(app):
    first, second = (Order(app, "job", REQUEST) for _ in range(2))
    first.enter()
    second.enter()
    app.ledger.accept("job", REQUEST, PLAN)

    first.leave()

    assert app.ledger.has_plan("job")
    assert [entry.job_id for entry in app.entries.all()] == ["job"]


def taken_order(store):
    Order(installation(store), "job", REQUEST).enter()


def refused_order(store):
    order = Order(installation(store), "job", REQUEST)
    order.enter()
    order.leave()


def test_an_order_that_is_taken_survives_the_refusal_of_an_equal_one_of_that_moment():
    lost = []
    clients = ((refused_order, taken_order), (taken_order, refused_order))
    for pair, first, second in product(clients, range(MOST_STEPS), range(1, MOST_STEPS)):
        store = MemoryStore()
        interleave(store, Turns(first, second), pair)
        app = installation(store)
        is_served = app.ledger.has_request("job") and app.entries.find("job") is not None
        if not is_served or app.ledger.is_withdrawn("job"):
            lost.append((pair[0].__name__, first, second))

    assert lost == []


def test_of_two_orders_that_are_refused_at_once_nothing_is_left():
    left = []
    for first, second in product(range(MOST_STEPS), range(1, MOST_STEPS)):
        store = MemoryStore()
        interleave(store, Turns(first, second), (refused_order, refused_order))
        app = installation(store)
        if app.ledger.has_request("job") or app.entries.keys("job"):
            left.append((first, second))

    assert left == []


class Forgetful(MemoryStore):
    """Its answers get lost: what it has written, it says when asked again, was there before."""

    def put(self, key, data):
        super().put(key, data)
        return False


def test_an_order_that_is_refused_leaves_nothing_though_answers_of_the_store_were_lost():
    store = Forgetful()

    refused_order(store)

    assert not installation(store).ledger.has_request("job")
    assert list(store.keys("queue/job/")) == []


def test_what_is_in_line_is_planned_though_a_client_died_while_it_took_it_back(app, monkeypatch):
    asked = []
    monkeypatch.setattr("app.tasks.base.workflow.start", lambda *found: asked.append(found[1]))
    app.ledger.withdraw("job")  # and was not there any more to see the other one's entry
    app.entries.add(entry_of("job", REQUEST))

    plan_job(DeliveredTask(), "job", lambda: REQUEST)

    assert asked == ["job"]
