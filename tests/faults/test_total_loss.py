"""All that was accepted ends by itself when nothing but the object store is left."""

import signal
import time

import pytest
import redis

from app.domain.work import WORKER_STAGES, Stage, Work, unit_name, work_of
from app.jobs import present_keys
from tests.faults.outcome import check_picture, left
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NODES = {"control": "control", "w1": "gpu", "w2": "gpu"}
SMALL = {"prompt": "islands", "height": 256, "width": 256, "tile": 64, "overlap": 16, "nsr": 0.25}
BEGUN = {  # of a tenant each, so that all of them are in work at once
    "refined": SMALL | {"tenant": "a"},
    "phased": SMALL | {"tenant": "b", "mode": "phased", "steps": 2},
    "batch": SMALL | {"tenant": "c", "height": 128, "width": 128, "count": 3},
}
FEW = 4


@pytest.fixture(scope="module")
def field(new_field):
    return new_field(NODES, tile_ms="150-300")


def units_of(plan):
    return [work for group in work_of(plan) for work in group if work.stage in WORKER_STAGES]


def finished(field, job_id) -> set[Work]:
    """Units of the job whose blobs are there."""
    if not field.runtime.ledger.has_plan(job_id):
        return set()
    plan = field.runtime.ledger.plan(job_id)
    keys = present_keys(field.runtime.store, plan)
    return {work for work in units_of(plan) if work.key(plan) in keys}


def has_few_tiles(field, job_id):
    return sum(work.stage is Stage.TILE for work in finished(field, job_id)) >= FEW


def lose_everything(field):
    """All workers, and all that RabbitMQ and Redis hold: what is started again are new servers."""
    field.fleet.kill_all()
    field.ground.broker.wipe("mnesia")
    field.ground.redis.wipe("appendonlydir")
    for server in (field.ground.broker, field.ground.redis):
        server.start()


def kept(field):
    """Queues of the broker, and how many keys Redis has."""
    with redis.Redis.from_url(field.ground.direct_env()["TILECHORD_RESULT_BACKEND"]) as client:
        return field.ground.messages(), client.dbsize()


def begun_since(field, at_s):
    starts = [event for event in field.history.events("start") if event["t"] >= at_s]
    return {(event["plan"], event["unit"]) for event in starts}


def test_accepted_jobs_end_when_broker_redis_and_all_workers_are_wiped(field, order):
    assert [order(job_id, request) for job_id, request in BEGUN.items()] == ["taken"] * 3
    wait_for(lambda: all(has_few_tiles(field, job_id) for job_id in BEGUN), limit_s=90)
    field.fleet.retire("control")
    field.fleet.signal("control", signal.SIGKILL)
    assert order("unplanned", SMALL | {"seed": 7}) == "taken"

    lose_everything(field)
    lost_s, before = time.time(), {job_id: finished(field, job_id) for job_id in BEGUN}
    assert kept(field) == ({}, 0)
    field.fleet.start(NODES)  # and no client says a word

    for job_id in [*BEGUN, "unplanned"]:
        check_picture(field, job_id, limit_s=120)
    for job_id, done in before.items():
        plan = field.runtime.ledger.plan(job_id)
        assert FEW <= len(done) < len(units_of(plan))
        names = {(plan.hash, unit_name(plan, work)) for work in done}
        assert names & begun_since(field, lost_s) == set()
    assert wait_for(lambda: not left(field), limit_s=60)
