"""A job rises while it waits without being served, by the dispatcher's own clock."""

import pytest

from app.domain.spec import Priority
from app.domain.work import Stage
from tests.unit.scheduling.scene import Scene

HIGH_AFTER_S = 40
LOW_FIRST, HIGH_FIRST = ("low", Priority.HIGH), ("high", Priority.HIGH)


@pytest.fixture
def scene():
    """One worker with two units of 1 s at hand; a class is gained in 20 s."""
    scene = Scene(lookahead_s=2.0, slice_units=2, ageing_s=HIGH_AFTER_S / 2)
    scene.node()
    return scene


def behind_high_work(scene, waited_s, **facts):
    """A low job that has waited behind a high one, whose units fill the queue."""
    scene.accept("low", priority=Priority.LOW, **facts)
    scene.accept("busy", priority=Priority.HIGH)
    assert {one.job_id for one in scene.round()} == {"busy"}
    scene.publisher.ready["gpu"] = 2
    assert scene.round(1.0, times=waited_s) == []


def first(scene):
    """Job and class of the next slice, when a high job has just come and the queue is empty."""
    scene.runtime.entries.close("busy")
    scene.accept("high", priority=Priority.HIGH)
    scene.publisher.ready["gpu"] = 0
    (sent,) = scene.round(1.0)
    return sent.job_id, sent.slice.priority


def test_low_work_rises_while_it_waits(scene):
    behind_high_work(scene, HIGH_AFTER_S)

    assert first(scene) == LOW_FIRST


def test_low_work_does_not_rise_before_its_time(scene):
    behind_high_work(scene, HIGH_AFTER_S - 2)

    assert first(scene) == HIGH_FIRST


def test_risen_work_that_was_sent_waits_anew(scene):
    behind_high_work(scene, HIGH_AFTER_S)
    assert first(scene) == LOW_FIRST

    slices = [scene.round(1.0) for _ in range(3)]

    assert [one.job_id for sent in slices for one in sent] == ["high"] * 3


def test_low_work_among_endless_high_work_is_served_again_and_again(scene):
    behind_high_work(scene, HIGH_AFTER_S)
    sent = [first(scene)]
    scene.publisher.ready["gpu"] = 2
    scene.round(1.0, times=HIGH_AFTER_S)
    scene.publisher.ready["gpu"] = 0

    sent += [(one.job_id, one.slice.priority) for one in scene.round(1.0)]

    assert sent == [LOW_FIRST, LOW_FIRST]


def test_however_many_low_jobs_a_tenant_has_one_slice_goes_before_high_work(scene):
    scene.accept("low-2", priority=Priority.LOW)
    behind_high_work(scene, HIGH_AFTER_S)
    (_, level), later = first(scene), [one for _ in range(3) for one in scene.round(1.0)]

    assert level is Priority.HIGH
    assert [one.job_id for one in later] == ["high"] * 3


def test_one_slice_goes_before_high_work_where_nodes_are_chosen_too():
    scene = Scene(placing="round_robin", lookahead_s=2.0, slice_units=2, ageing_s=HIGH_AFTER_S / 2)
    plans = {name: scene.accept(name, priority=Priority.LOW) for name in ("low", "low-2")}
    plans["work"] = scene.accept("work", priority=Priority.HIGH, count=20)
    served = []
    for _ in range(2 * HIGH_AFTER_S):
        scene.node(queue="render.node.w1@a")
        for one in scene.round(1.0):
            served.append(one.job_id)
            for work in one.units:
                scene.rendered(one.job_id, plans[one.job_id], work)

    assert len(served) == 2 * HIGH_AFTER_S
    assert [job_id for job_id in served if job_id != "work"] == ["low"]


def test_the_low_jobs_of_other_tenants_rise_all_the_same(scene):
    scene.accept("low-2", priority=Priority.LOW, tenant="other")
    behind_high_work(scene, HIGH_AFTER_S)

    sent = {first(scene)} | {(one.job_id, one.slice.priority) for one in scene.round(1.0)}

    assert sent == {LOW_FIRST, ("low-2", Priority.HIGH)}


def test_a_job_that_is_served_all_the_time_does_not_rise(scene):
    plan = scene.accept("low", priority=Priority.LOW, count=20)
    for _ in range(HIGH_AFTER_S + 20):
        for one in scene.round(1.0):
            assert one.slice.priority is Priority.LOW
            for work in one.units:
                scene.rendered("low", plan, work)

    assert first(scene) == HIGH_FIRST


def test_a_job_whose_long_unit_is_rendered_does_not_rise(scene):
    plan = scene.accept("low", priority=Priority.LOW)
    (work, _) = scene.round()[0].units
    scene.publisher.ready["gpu"] = 2
    for elapsed_s in range(HIGH_AFTER_S + 20):
        scene.node(current=("low", plan, work), elapsed_s=elapsed_s)
        assert scene.round(1.0) == []

    assert first(scene) == HIGH_FIRST


def test_paused_time_is_no_waiting(scene):
    behind_high_work(scene, 1)
    scene.runtime.entries.pause("low")
    scene.round(1.0, times=HIGH_AFTER_S + 20)
    scene.runtime.entries.unpause("low")

    assert first(scene) == HIGH_FIRST


@pytest.mark.parametrize("priority", [Priority.LOW, Priority.NORMAL])
def test_a_job_that_is_put_into_a_class_waits_anew(scene, priority):
    behind_high_work(scene, HIGH_AFTER_S)
    scene.runtime.entries.prioritise("low", priority, 1)
    scene.round(1.0)

    assert first(scene) == HIGH_FIRST


@pytest.mark.parametrize("ahead_s", [-86400.0, 86400.0], ids=["behind", "ahead"])
def test_a_clients_clock_does_not_age_its_job(scene, ahead_s):
    behind_high_work(scene, 1, ahead_s=ahead_s)

    assert first(scene) == HIGH_FIRST


def test_a_client_whose_clock_is_ahead_has_its_job_aged_all_the_same(scene):
    behind_high_work(scene, HIGH_AFTER_S, ahead_s=86400.0)
    scene.runtime.entries.close("busy")
    scene.accept("normal")
    scene.publisher.ready["gpu"] = 0

    assert [one.job_id for one in scene.round(1.0)] == ["low"]


def test_another_dispatcher_begins_to_age_anew(scene):
    behind_high_work(scene, HIGH_AFTER_S)
    scene.dispatcher = scene.another()

    assert first(scene) == HIGH_FIRST


def test_a_dispatcher_that_was_not_acting_begins_to_age_anew(scene):
    behind_high_work(scene, HIGH_AFTER_S)
    scene.dispatcher.forget()

    assert first(scene) == HIGH_FIRST


def test_risen_work_in_the_queue_holds_up_the_high_work_behind_it(scene):
    behind_high_work(scene, HIGH_AFTER_S)
    assert first(scene) == LOW_FIRST
    scene.publisher.ready["gpu"] = 2

    assert scene.round(1.0) == []


def test_what_was_sent_before_its_job_was_raised_holds_up_no_high_work(scene):
    scene.accept("low", priority=Priority.LOW)
    scene.round()
    scene.publisher.ready["gpu"] = 2
    scene.runtime.entries.prioritise("low", Priority.HIGH, 1)

    assert [one.slice.priority for one in scene.round(1.0)] == [Priority.HIGH]


def test_a_picture_that_is_opened_early_does_not_cost_the_rise_of_the_one_before_it(scene):
    scene.accept("low", priority=Priority.LOW)
    scene.accept("next", priority=Priority.LOW, is_opened=False)
    behind_high_work(scene, HIGH_AFTER_S)
    scene.runtime.entries.close("busy")
    scene.accept("high", priority=Priority.HIGH)
    scene.publisher.ready["gpu"] = 0

    slices = scene.round(1.0)

    assert [(one.job_id, one.slice.priority) for one in slices] == [
        ("next", Priority.HIGH),
        LOW_FIRST,
    ]


def test_what_has_not_risen_is_not_opened_in_the_turn_of_what_has(scene):
    scene.accept("low", priority=Priority.LOW)
    scene.accept("busy", priority=Priority.HIGH)
    scene.round()
    scene.publisher.ready["gpu"] = 2
    scene.round(1.0, times=HIGH_AFTER_S // 2)
    scene.accept("next", priority=Priority.LOW, is_opened=False)
    scene.round(1.0, times=HIGH_AFTER_S // 2)

    assert first(scene) == LOW_FIRST


def test_a_picture_that_is_opened_early_does_not_cost_the_rise_of_its_own_batch(scene):
    plan = scene.accept("low", priority=Priority.LOW, is_opened=False, count=2)
    scene.finish(plan, 0, Stage.BASE, Stage.PREPARE)
    scene.accept("busy", priority=Priority.HIGH)
    scene.round()
    scene.publisher.ready["gpu"] = 2
    scene.round(1.0, times=HIGH_AFTER_S)
    scene.runtime.entries.close("busy")
    scene.accept("high", priority=Priority.HIGH)
    scene.publisher.ready["gpu"] = 0

    slices = scene.round(1.0)

    stages = [(one.job_id, one.units[0].stage, one.slice.priority) for one in slices]
    assert stages == [("low", Stage.BASE, Priority.HIGH), ("low", Stage.TILE, Priority.HIGH)]
