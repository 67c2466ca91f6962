"""An order that is given again under its own id is still one job, however full the line is."""

import sys

import pytest
from celery import Task

from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import AdmissionError, InvalidRequestError
from app.entries import Entry
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.settings import Settings
from app.storage.memory import MemoryStore
from app.tasks import render
from tests.unit.test_jobs import manifest

FIELDS = {"prompt": "a map", "tenant": "studio"}
LIMITS = {"max_open_jobs_per_tenant": 1}, {"max_open_jobs": 1}, {"max_pending_s": 60}


@pytest.fixture(params=LIMITS, ids=["tenant", "jobs", "seconds"])
def app(request, monkeypatch):
    """An installation that is full with one job; its broker takes everything."""
    store = MemoryStore()
    chosen = Settings(broker_url="amqp://localhost//", **request.param)
    runtime = Runtime(chosen, store, JobLedger(store), Catalogue([]), MemoryBoard())
    module = sys.modules["app.tasks.render"]  # the task hides it in its package
    monkeypatch.setattr(module, "runtime", lambda: runtime)
    monkeypatch.setattr(module, "settings", lambda: runtime.settings)
    monkeypatch.setattr(module, "_require_broker", lambda _: None)
    monkeypatch.setattr(Task, "apply_async", lambda *_, **options: options["task_id"])
    return runtime


def send(job_id=None, **fields):
    return render.apply_async(args=(FIELDS | fields,), task_id=job_id)


def fill(app):
    """What the dispatcher shows once the job is planned."""
    app.board.show("pools", "gpu", {"pending_s": 90.0, "workers": 1}, ttl_s=60)


def test_an_accepted_order_is_taken_again_and_another_is_refused(app):
    send("first")
    fill(app)

    assert send("first") == "first"
    for job_id in ("second", None):
        with pytest.raises(AdmissionError) as refusal:
            send(job_id)
        assert refusal.value.may_pass
    assert [entry.job_id for entry in app.entries.all()] == ["first"]


@pytest.mark.parametrize(
    "end",
    [
        lambda ledger: ledger.finish(manifest("first")),
        lambda ledger: ledger.fail("first", "tile 3: broken"),
    ],
    ids=["succeeded", "failed"],
)
def test_an_order_that_has_ended_is_told_its_end_again_in_a_full_line(app, end):
    send("first")
    end(app.ledger)
    app.entries.close("first")
    app.entries.add(Entry("other", 1, "normal", "studio"))
    fill(app)

    assert send("first") == "first"


@pytest.mark.parametrize("is_withdrawn", [True, False], ids=["refused", "client died"])
def test_an_order_that_never_came_into_the_line_counts_as_a_new_one(app, is_withdrawn):
    send("first")
    fill(app)
    app.ledger.submit("second", app.ledger.request("first"))
    if is_withdrawn:
        app.ledger.withdraw("second")

    with pytest.raises(AdmissionError):
        send("second")


def test_an_id_that_is_none_is_told_before_the_full_line(app):
    send("first")
    fill(app)

    with pytest.raises(InvalidRequestError, match=r"^job id must be up to 100 characters"):
        send("../first")


def test_the_id_of_an_accepted_job_takes_no_other_request(app):
    send("first")
    fill(app)

    with pytest.raises(InvalidRequestError, match=r"^job id first belongs to another request$"):
        send("first", seed=7)
