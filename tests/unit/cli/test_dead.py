from __future__ import annotations

import json

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.attempts import Attempts, Step, attempts_prefix
from app.bootstrap import runtime
from app.celery import celery
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, unit_name
from app.jobs import JobState
from app.planning import plan_request
from app.schemas import read_request
from tests.support.installation import Installation

WORK = Work(Stage.TILE, 0, index=3)
REASON = "quarantined, 3 workers died of it"


@pytest.fixture
def quarantined(installation: Installation) -> RenderPlan:
    """A job that failed for a tile that killed its workers; its message is nowhere."""
    app = runtime()
    request = read_request({"prompt": "a hill", "width": 256, "height": 192})
    plan = plan_request(request, app.catalogue, app.settings)
    app.ledger.accept("job-1", request, plan)
    app.ledger.fail("job-1", f"{WORK.label}: {REASON}")
    for name in ("a", "b", "c"):
        app.store.put(f"{attempts_prefix(plan.hash, unit_name(plan, WORK))}{name}", b"")
    attempts = Attempts(app.store, app.board, 2.0, max_deaths=3, me="me")
    attempts.quarantine("job-1", Step.of(plan, WORK), REASON, 1_700_000_000.25)
    return plan


def test_nothing_dead_is_an_empty_list(installation: Installation) -> None:
    result = installation.invoke("dead", "list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no dead letter\n"
    assert json.loads(installation.invoke("dead", "list", "--json").stdout) == []


def test_a_quarantined_unit_is_listed_without_its_message(
    installation: Installation, quarantined: RenderPlan
) -> None:
    row = installation.invoke("dead", "list").stdout.rstrip("\n").split("\t")

    assert row[1:] == ["job-1", "tile 3 of image 0", "2023-11-14T22:13:20+00:00", REASON]


def test_a_letter_is_shown_by_its_id_or_its_job(
    installation: Installation, quarantined: RenderPlan
) -> None:
    (listed,) = json.loads(installation.invoke("dead", "list", "--json").stdout)

    by_id = installation.invoke("dead", "show", listed["id"], "--json")
    by_job = installation.invoke("dead", "show", "job-1")

    assert json.loads(by_id.stdout) == [listed]
    assert listed == {
        "id": listed["id"],
        "job": "job-1",
        "unit": "tile 3 of image 0",
        "task": None,
        "queue": None,
        "at": "2023-11-14T22:13:20+00:00",
        "reason": REASON,
    }
    assert f"reason  {REASON}\n" in by_job.stdout


@pytest.mark.parametrize("command", ["show", "requeue", "drop"])
def test_a_letter_nobody_knows_is_refused(installation: Installation, command: str) -> None:
    result = installation.invoke("dead", command, "letter-9")

    assert result.exit_code == 5
    assert result.stderr == "tilechord: dead letter letter-9 is not known\n"


def test_a_requeued_unit_is_forgotten_and_its_job_goes_on(
    installation: Installation, quarantined: RenderPlan
) -> None:
    (listed,) = json.loads(installation.invoke("dead", "list", "--json").stdout)

    result = installation.invoke("dead", "requeue", "job-1")

    assert result.stdout == f"sent on: {listed['id']}, tile 3 of image 0 of job job-1\n"
    assert runtime().ledger.status("job-1").state is JobState.SUBMITTED
    assert list(runtime().store.keys("attempts/")) == []
    assert list(runtime().store.keys("dead/")) == []


def test_a_letter_that_cannot_be_requeued_stays_and_its_job_keeps_its_end(
    installation: Installation, quarantined: RenderPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RedisConnectionError("refused")

    before = installation.invoke("dead", "list", "--json").stdout
    with monkeypatch.context() as patch:
        patch.setattr(celery.backend, "forget", fail)
        result = installation.invoke("dead", "requeue", "job-1")

    assert result.exit_code == 4
    assert installation.invoke("dead", "list", "--json").stdout == before
    assert runtime().ledger.status("job-1").state is JobState.FAILED
    assert runtime().entries.all() == []


def test_a_dropped_letter_leaves_its_job_and_its_deaths_as_they_are(
    installation: Installation, quarantined: RenderPlan
) -> None:
    result = installation.invoke("dead", "drop", "job-1")

    assert result.exit_code == 0
    assert list(runtime().store.keys("dead/")) == []
    assert len(list(runtime().store.keys("attempts/"))) == 3
    assert runtime().ledger.status("job-1").state is JobState.FAILED


def test_a_job_whose_planning_was_deadly_is_planned_again(installation: Installation) -> None:
    app = runtime()
    app.ledger.submit("job-2", read_request({"prompt": "a hill", "width": 256, "height": 192}))
    app.ledger.fail("job-2", f"plan: {REASON}")
    app.store.put(f"{attempts_prefix('job-2', 'plan')}a", b"")
    attempts = Attempts(app.store, app.board, 2.0, max_deaths=3, me="me")
    attempts.quarantine("job-2", Step("job-2", "plan", "plan"), REASON, 1_700_000_000.25)

    result = installation.invoke("dead", "requeue", "job-2")

    assert result.exit_code == 0
    assert app.ledger.status("job-2").state is JobState.SUBMITTED
    assert [entry.job_id for entry in app.entries.all()] == ["job-2"]
    assert list(app.store.keys("attempts/")) == []
