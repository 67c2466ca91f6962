"""When a job will be done, by what its nodes have of it and by how fast each of them is."""

import math
from unittest.mock import Mock

import pytest

from app.domain.errors import StorageUnavailableError
from app.domain.work import Stage, Work
from app.nodes import CurrentUnit, NodeRecord
from app.scheduling.forecast import Forecast
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan as plan_of
from tests.unit.scheduling.jobs import before_tiles, opened
from tests.unit.scheduling.scene import SMALL

PLAN = plan_of(**SMALL)
SECONDS = 10.0


@pytest.fixture
def forecast():
    """One that has seen every tile take ten seconds."""
    found = Forecast(MemoryStore())
    for stage in (Stage.TILE, Stage.HEAD, Stage.CORE):
        observe(found, stage, SECONDS)
    return found


def observe(forecast, stage, seconds, node="", phase=0):
    event = {"status": "rendered", "seconds": seconds, "device": "cpu", "node": node}
    forecast.observe(PLAN, Work(stage, 0, phase), event)


@pytest.fixture
def job():
    """All before its tiles is done."""
    return opened(PLAN, *before_tiles(PLAN))[0]


def node(number=1, shown=None, **fields):
    name = f"w{number}@host"
    return NodeRecord(
        node=name, pid=number, pool="gpu", device="cpu", **{**fields, "current": shown}
    )


def current(*indices, elapsed_s, job_id="job"):
    first, *more = indices
    unit = {"stage": Stage.TILE, "image": 0, "phase": 0, "index": first, "more": more}
    return CurrentUnit(job_id=job_id, plan_hash=PLAN.hash, elapsed_s=elapsed_s, **unit)


def begin(job, count):
    return job.take(count, [Stage.TILE], "gpu", 0.0)


def eta_s(forecast, job, *nodes):
    return forecast.eta_s(job, nodes, 0.0, 0.0)


def test_an_end_is_sooner_by_the_time_that_units_were_under_way(forecast, job):
    begin(job, 1)

    alone = node(shown=current(0, elapsed_s=3.0))

    assert eta_s(forecast, job, alone) == pytest.approx(forecast.left_s(job) - 3.0)


def test_a_unit_that_takes_much_longer_puts_off_the_end(forecast, job):
    begin(job, 1)

    alone = node(shown=current(0, elapsed_s=500.0))  # it may have to be done again

    assert eta_s(forecast, job, alone) == pytest.approx(forecast.left_s(job))


def test_where_nothing_was_sent_nothing_is_over(forecast, job):
    alone = node(shown=current(0, elapsed_s=3.0, job_id="other"))

    assert eta_s(forecast, job, alone) == pytest.approx(forecast.left_s(job))


def test_without_nodes_there_is_no_end_in_sight(forecast, job):
    begin(job, 1)

    assert eta_s(forecast, job) == math.inf


def test_nodes_of_one_device_are_told_apart(forecast, job):
    for phase in (0, 1):
        observe(forecast, Stage.TILE, SECONDS / 4, node="w1@host", phase=phase)
        observe(forecast, Stage.TILE, SECONDS, node="w2@host", phase=phase)

    # Of 18 tiles one does 14; then the head, then four cores, of which neither has done any.
    assert eta_s(forecast, job, node(1), node(2)) == pytest.approx(37.5 + SECONDS + 2 * SECONDS)


def test_what_a_node_has_done_none_of_is_predicted_by_its_device(forecast, job):
    before_s = eta_s(forecast, job, node(1), node(2))
    observe(forecast, Stage.BASE, SECONDS / 4, node="w1@host")

    assert eta_s(forecast, job, node(1), node(2)) == pytest.approx(before_s)


def test_what_was_learned_meanwhile_counts(forecast, job):
    before_s = eta_s(forecast, job, node(1))
    observe(forecast, Stage.TILE, SECONDS / 4, node="w1@host")

    assert eta_s(forecast, job, node(1)) < before_s


def test_what_another_dispatcher_learned_is_not_overwritten():
    store = MemoryStore()
    ours, theirs = Forecast(store), Forecast(store)
    observe(ours, Stage.TILE, SECONDS)
    observe(theirs, Stage.TILE, 3 * SECONDS)
    theirs.save(1)

    ours.forget()
    ours.save(2)

    assert [*store.keys("predictions/")] == ["predictions/1.json"]
    assert ours.unit(PLAN, Work(Stage.TILE, 0, 0, 0)).mean_s == pytest.approx(3 * SECONDS)


def test_while_the_store_is_away_what_was_learned_is_better_than_nothing(monkeypatch):
    store = MemoryStore()
    forecast = Forecast(store)
    observe(forecast, Stage.TILE, SECONDS)
    monkeypatch.setattr(store, "keys", Mock(side_effect=StorageUnavailableError("no store")))

    forecast.forget()

    assert forecast.unit(PLAN, Work(Stage.TILE, 0, 0, 0)).mean_s == pytest.approx(SECONDS)
