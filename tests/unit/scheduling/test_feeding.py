"""How much goes into a pool's shared queue, and whose it is."""

import pytest

from app.domain.spec import Priority
from tests.unit.scheduling.scene import Scene


@pytest.fixture
def scene():
    """One worker, units of 1 s that nobody has rendered yet: the queue is to hold four."""
    scene = Scene(lookahead_s=4.0, slice_units=2)
    scene.node()
    return scene


def jobs(slices):
    return [one.job_id for one in slices for _ in one.units]


def test_a_queue_gets_as_much_as_is_looked_ahead_in_slices(scene):
    scene.accept()

    assert [len(one.units) for one in scene.round()] == [2, 2]


def test_a_queue_that_is_more_than_half_full_gets_nothing(scene):
    scene.accept()
    scene.round()
    scene.publisher.ready["gpu"] = 3

    assert scene.round(1.0) == []
    scene.publisher.ready["gpu"] = 2
    assert jobs(scene.round(1.0)) == ["job"] * 2


def test_twice_the_workers_get_twice_as_much(scene):
    scene.node("w2@a")
    scene.accept()

    assert len(jobs(scene.round())) == 8


def test_what_lies_behind_it_in_the_queue_holds_up_no_job(scene):
    scene.accept("low", priority=Priority.LOW)
    scene.round()
    scene.publisher.ready["gpu"] = 4
    scene.accept("high", priority=Priority.HIGH)

    assert jobs(scene.round(1.0)) == ["high"] * 4
    scene.publisher.ready["gpu"] = 8
    assert scene.round(1.0) == []


@pytest.mark.parametrize("priority", [Priority.LOW, Priority.NORMAL])
def test_a_full_queue_holds_up_what_would_lie_behind_it(scene, priority):
    scene.accept("first")
    scene.round()
    scene.publisher.ready["gpu"] = 4
    scene.accept("second", priority=priority)

    assert scene.round(1.0) == []


def drained(scene):
    """The next slices, after workers took all that was there."""
    scene.publisher.ready["gpu"] = 0
    return scene.round(1.0)


def test_tenants_take_turns_whatever_they_have_sent(scene):
    for number in range(5):
        scene.accept(f"busy-{number}", tenant="busy")
    scene.accept("quiet", tenant="quiet")

    first = jobs(scene.round()) + jobs(drained(scene))

    assert sum(job.startswith("busy") for job in first) == len(first) / 2


def test_tenants_pay_what_their_units_took_and_not_what_was_predicted(scene):
    plans = {name: scene.accept(name, tenant=name) for name in ("slow", "quick")}
    took_s = {"slow": 1.9, "quick": 0.1}
    for one in scene.round():
        for work in one.units:
            scene.rendered(one.job_id, plans[one.job_id], work, seconds=took_s[one.job_id])

    assert jobs(drained(scene)) == ["quick"] * 4


def test_a_paused_job_lets_the_others_by(scene):
    scene.accept("first")
    scene.accept("second")
    scene.runtime.entries.pause("first")

    assert set(jobs(scene.round(1.0))) == {"second"}
