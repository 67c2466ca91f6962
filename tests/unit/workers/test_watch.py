"""How a worker asks whether a unit's job still wants it."""

import pytest

from app.domain.errors import RenderCancelledError, StorageUnavailableError
from app.jobs import JobLedger
from app.schemas import read_request
from app.storage.memory import MemoryStore
from tests.support.clock import HandClock
from tests.unit.domain.cards import plan
from workers.watch import JobWatch


@pytest.fixture
def ledger():
    ledger = JobLedger(MemoryStore())
    ledger.accept("job", read_request({"prompt": "a map"}), plan(height=512, width=512))
    return ledger


@pytest.fixture
def asked(ledger, monkeypatch):
    """Jobs that the store is asked about."""
    jobs = []
    monkeypatch.setattr(ledger, "is_cancelled", jobs.append)
    return jobs


@pytest.fixture
def clock(monkeypatch):
    hand = HandClock(0.0)
    monkeypatch.setattr("workers.watch.time.monotonic", hand)
    return hand


def test_the_store_is_asked_about_a_job_every_two_seconds_at_most(ledger, asked, clock):
    watch = JobWatch(ledger)

    for clock.now_s in (0.0, 0.1, 1.9, 2.1):
        watch.check("job")

    assert asked == ["job", "job"]


def test_two_jobs_at_hand_are_each_asked_about_every_two_seconds(ledger, asked, clock):
    watch = JobWatch(ledger)

    for clock.now_s in (0.0, 0.1, 1.9, 2.1):
        watch.check("job")
        watch.check("other")

    assert asked == ["job", "other", "job", "other"]


def test_who_is_told_asks_at_once_and_then_as_before(ledger, asked, clock):
    watch = JobWatch(ledger)

    for clock.now_s in (0.0, 0.1, 0.2, 0.3):
        if clock.now_s == 0.1:
            watch.tell("job")
        watch.check("job")
        watch.check("other")

    assert asked == ["job", "other", "job"]


def test_of_two_messages_of_a_cancelled_job_both_hear_of_it(ledger, clock):
    watch = JobWatch(ledger)
    watch.check("job")
    ledger.cancel("job")
    clock.now_s = 0.1
    watch.check("job")

    watch.tell("job")

    for _ in range(2):
        with pytest.raises(RenderCancelledError):
            watch.check("job")


def test_what_is_told_of_other_workers_jobs_is_forgotten(ledger, asked, clock):
    watch = JobWatch(ledger)

    for number in range(1000):
        watch.tell(f"job-{number}")
    watch.check("job-999")

    assert len(watch._told) <= 100
    assert asked == ["job-999"]


def test_jobs_of_long_ago_are_forgotten(ledger):
    watch = JobWatch(ledger)

    for number in range(100):
        watch.check(f"job-{number}")

    assert len(watch._next_s) < 10


def test_a_slow_store_is_asked_for_half_of_the_time_at_most(ledger, monkeypatch):
    clock, asked = HandClock(0.0), []

    def is_cancelled(job_id):
        asked.append(clock.now_s)
        clock.now_s += 10.0

    monkeypatch.setattr(ledger, "is_cancelled", is_cancelled)
    monkeypatch.setattr("workers.watch.time.monotonic", clock)
    watch = JobWatch(ledger)

    while clock.now_s < 60.0:
        watch.check("job")
        clock.now_s += 1.0

    assert asked == [0.0, 20.0, 40.0]


def test_a_job_that_has_ended_is_refused_every_time(ledger):
    watch = JobWatch(ledger)
    ledger.cancel("job")

    for _ in range(2):
        with pytest.raises(RenderCancelledError):
            watch.check("job")


def test_a_store_that_does_not_answer_does_not_end_a_tile(ledger, monkeypatch):
    def is_cancelled(job_id):
        raise StorageUnavailableError("store m does not answer")

    monkeypatch.setattr(ledger, "is_cancelled", is_cancelled)

    JobWatch(ledger).check("job")
