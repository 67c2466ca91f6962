"""What units under way take off the time until a job's end."""

import pytest

from app.domain.work import Stage, Work
from app.nodes import CurrentUnit, NodeRecord
from app.scheduling.forecast import Forecast
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan as plan_of
from tests.unit.scheduling.scene import SMALL
from tests.unit.scheduling.test_job import before_tiles, opened

PLAN = plan_of(**SMALL)
SECONDS = 10.0


@pytest.fixture
def forecast():
    """One that has seen every tile take ten seconds."""
    found = Forecast(MemoryStore())
    event = {"status": "rendered", "seconds": SECONDS, "device": "cpu"}
    for stage in (Stage.TILE, Stage.HEAD, Stage.CORE):
        found.observe(PLAN, Work(stage, 0), event)
    return found


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


def test_of_what_a_node_shows_the_time_so_far_is_over(forecast, job):
    begin(job, 1)

    shown = node(shown=current(0, elapsed_s=3.0), age_s=1.0)

    assert forecast._begun_s(job, [shown]) == pytest.approx(4.0)


def test_an_end_is_so_much_sooner(forecast, job):
    begin(job, 1)
    before_s = forecast.left_s(job)

    eta_s = forecast.eta_s(job, [node(shown=current(0, elapsed_s=3.0))], 0.0, 0.0)

    assert eta_s == pytest.approx(before_s - 3.0)


def test_a_unit_that_takes_longer_than_predicted_is_not_done_for_that(forecast, job):
    begin(job, 1)

    shown = node(shown=current(0, elapsed_s=500.0))

    assert forecast._begun_s(job, [shown]) == pytest.approx(SECONDS)


def test_of_a_message_only_what_is_not_done_counts(forecast, job):
    begin(job, 3)
    job.flying.pop(Work(Stage.TILE, 0, index=0))

    shown = node(shown=current(0, 1, 2, elapsed_s=12.0))

    assert forecast._begun_s(job, [shown]) == pytest.approx(2.0)


def test_who_shows_what_is_done_is_half_through_another(forecast, job):
    begin(job, 3)
    nodes = [
        node(1, shown=current(0, elapsed_s=3.0)),
        node(2, shown=current(7, elapsed_s=9.0)),
        node(3, shown=current(1, elapsed_s=9.0, job_id="other")),
    ]

    assert forecast._begun_s(job, nodes) == pytest.approx((3.0 + 5.0) / 2)


def test_who_shows_what_is_done_has_nothing_where_no_other_unit_is_left(forecast, job):
    begin(job, 1)
    nodes = [node(1, shown=current(0, elapsed_s=1.0))]
    nodes += [node(number, shown=current(number, elapsed_s=9.0)) for number in range(2, 9)]

    assert forecast._begun_s(job, nodes) == pytest.approx(1.0)


def test_idle_nodes_do_not_count(forecast, job):
    begin(job, 1)

    nodes = [node(1, shown=current(0, elapsed_s=4.0)), node(2), node(3)]

    assert forecast._begun_s(job, nodes) == pytest.approx(4.0)


def test_where_nothing_was_sent_nothing_is_over(forecast, job):
    assert forecast._begun_s(job, [node()]) == 0
    assert forecast._begun_s(job, []) == 0
