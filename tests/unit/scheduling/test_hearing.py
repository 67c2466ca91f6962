"""What is heard of jobs is taken in, whatever the store refuses meanwhile."""

import pytest

from app.domain.errors import StorageUnavailableError
from app.domain.work import Stage, plan_key
from tests.unit.scheduling.scene import Scene


def head_of(scene: Scene, job_id: str):
    """The plan of a job whose head is under way, and that unit."""
    plan = scene.accept(job_id)
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE)
    (head,) = [work for one in scene.round(0.6) for work in one.units]
    return plan, head


def cores_of(scene: Scene, after_s: float = 0.3, times: int = 1) -> set[str]:
    """Jobs whose cores are sent, which follow the head."""
    sent = scene.round(after_s, times=times)
    return {one.job_id for one in sent if one.units[0].stage is Stage.CORE}


def test_events_of_a_job_whose_records_the_store_refuses_keep_back_no_other(scene, refusals):
    bad, bad_head = head_of(scene, "bad")
    good, good_head = head_of(scene, "good")
    refusals.keys.add(plan_key(bad.hash))
    scene.rendered("bad", bad, bad_head, status="gone")
    scene.rendered("good", good, good_head)

    assert cores_of(scene) == {"good"}


def test_many_jobs_whose_events_are_refused_keep_back_no_other_for_long(scene, refusals):
    bad = [(f"bad-{number}", *head_of(scene, f"bad-{number}")) for number in range(7)]
    good, good_head = head_of(scene, "good")
    for job_id, plan, head in bad:
        refusals.keys.add(plan_key(plan.hash))
        scene.rendered(job_id, plan, head, status="gone")
    scene.rendered("good", good, good_head)

    assert cores_of(scene, times=4) == {"good"}


def test_what_was_heard_of_a_refused_job_is_taken_in_when_it_is_refused_no_more(scene, refusals):
    plan, head = head_of(scene, "bad")
    refusals.keys.add(plan_key(plan.hash))
    scene.rendered("bad", plan, head, status="gone")
    scene.round(0.6, times=20)
    scene.rendered("bad", plan, head)  # of a second copy
    scene.round(0.6, times=20)
    before = refusals.asked
    refusals.keys.clear()

    assert cores_of(scene, 1.0, times=40) == {"bad"}
    assert before <= 6


def test_what_was_heard_while_the_store_was_away_is_taken_in_when_it_is_back(scene, refusals):
    heads = {job_id: head_of(scene, job_id) for job_id in ("one", "two", "three")}
    for job_id, (plan, head) in heads.items():
        scene.rendered(job_id, plan, head, status="gone")
        scene.rendered(job_id, plan, head)
    refusals.is_away = True
    for _ in range(9):
        with pytest.raises(StorageUnavailableError):
            scene.round(0.3)
    asked, refusals.is_away = refusals.asked, False

    assert cores_of(scene, times=3) == {"one", "two", "three"}  # before anybody's pause is over
    assert asked <= 2 * 9  # the event, and whether the store answers others


def test_a_plan_that_the_store_refuses_to_keep_holds_up_nobody_elses_merge(scene, refusals):
    plans = {job_id: scene.accept(job_id) for job_id in ("bad", "good")}
    for plan in plans.values():
        scene.finish(plan, 0, Stage.TILE)
    scene.round(0.6)
    scene.publisher.advances.clear()
    refusals.keys = {plan_key(plans["bad"].hash)}

    scene.round(1.0, times=200)

    assert {job_id for job_id, _ in scene.publisher.advances} == {"good"}
    assert refusals.asked <= 12  # ever less often, though nothing else of the job is refused


def test_a_unit_that_the_store_refuses_to_tell_of_holds_up_nobody_elses(scene, refusals):
    plans = {job_id: scene.accept(job_id) for job_id in ("bad", "good")}
    sent = [(one.job_id, work) for one in scene.round(times=8) for work in one.units]
    refusals.keys = {work.key(plans["bad"]) for job_id, work in sent if job_id == "bad"}
    scene.node()

    again = scene.round(2.1, times=5)

    assert {one.job_id for one in again if one.slice.attempt} == {"good"}
