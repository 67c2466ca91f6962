"""Jobs whose records cannot be read keep back no other job."""

from unittest.mock import Mock

import pytest

from app import client
from app.domain.errors import ConfigurationError
from app.domain.work import plan_key
from app.jobs import JobState
from tests.support.damage import damage
from tests.unit.scheduling.scene import Scene, tiles


def served(scene: Scene, after_s: float = 0.6, times: int = 1) -> set[str]:
    return {one.job_id for one in scene.round(after_s, times=times)}


def in_line(scene: Scene) -> list[str]:
    return [entry.job_id for entry in scene.runtime.entries.all()]


def test_a_job_whose_plan_the_store_does_not_give_keeps_back_no_later_one(scene, refusals):
    refusals.keys.add(plan_key(scene.accept("bad").hash))
    scene.accept("good")
    scene.submit("unplanned")

    assert served(scene) == {"good"}
    scene.round(0.6, times=30)
    assert scene.publisher.plans == ["unplanned"]
    assert in_line(scene) == ["bad", "good", "unplanned"]


def test_a_job_that_was_put_off_is_served_when_the_store_gives_its_plan(scene, refusals):
    refusals.keys.add(plan_key(scene.accept("bad").hash))
    scene.round(0.6, times=600)
    refusals.keys.clear()

    assert served(scene, times=60) == {"bad"}


def test_a_job_that_was_put_off_is_asked_for_ever_less_often(scene, refusals):
    refusals.keys.add(plan_key(scene.accept("bad").hash))

    scene.round(0.6, times=200)

    assert 5 <= refusals.asked <= 10


def test_a_store_that_gives_no_record_is_asked_for_few(scene, refusals):
    for number in range(30):
        refusals.keys.add(f"jobs/job-{number}/result.json")
        scene.accept(f"job-{number}")

    scene.round(0.6)

    assert refusals.asked == 2


def test_jobs_behind_many_that_the_store_does_not_give_have_their_turn(scene, refusals):
    for number in range(9):
        refusals.keys.add(plan_key(scene.accept(f"bad-{number}").hash))
    scene.accept("good")

    assert served(scene, times=6) == {"good"}


def of_every_kind(scene, refusals):
    """Jobs whose records are refused: open ones, heard of or not, new ones, some without plan."""
    plans = {f"open-{number}": scene.accept(f"open-{number}") for number in range(4)}
    scene.round(0.6)
    refusals.keys |= {f"jobs/{job_id}/result.json" for job_id in plans}
    for job_id in ("open-0", "open-1"):
        scene.rendered(job_id, plans[job_id], tiles(1)[0], status="gone")
        refusals.keys.add(plan_key(plans[job_id].hash))
    for number in range(4):
        plans |= {f"new-{number}": scene.accept(f"new-{number}")}
        scene.submit(f"unplanned-{number}")
        refusals.keys |= {plan_key(plans[f"new-{number}"].hash)}
        refusals.keys |= {f"jobs/unplanned-{number}/request.json"}
    return plans


def test_a_round_waits_for_no_more_than_two_records_that_the_store_refuses(scene, refusals):
    of_every_kind(scene, refusals)
    asked = []

    for _ in range(300):
        before = refusals.asked
        scene.round(0.6)
        asked.append(refusals.asked - before)

    assert max(asked) == 2
    assert max(asked[50:]) == 1  # all are put off: one of them is tried
    assert sum(asked) > 50


def test_a_job_is_back_in_time_though_all_others_are_refused_still(scene, refusals):
    plans = of_every_kind(scene, refusals)
    scene.round(0.6, times=100)
    back = {"open-2": "result", "unplanned-3": "request"}
    refusals.keys -= {f"jobs/{job_id}/{name}.json" for job_id, name in back.items()}
    refusals.keys.discard(plan_key(plans["new-3"].hash))
    scene.runtime.ledger.cancel("open-2")

    sent = served(scene, times=70)

    assert "new-3" in sent
    assert scene.publisher.plans == ["unplanned-3"]
    assert "open-2" not in in_line(scene)


def test_a_store_that_refuses_this_process_fails_no_job(scene, refusals):
    refusals.error = ConfigurationError("S3 credentials must be allowed to use bucket b")
    refusals.keys.add(plan_key(scene.accept("bad").hash))
    scene.accept("good")

    assert served(scene) == {"good"}
    refusals.keys.clear()
    assert scene.runtime.ledger.status("bad").state is JobState.RUNNING


def finished(scene, job_id, record=b'{"job_id": "bad"}'):
    scene.accept(job_id)
    scene.store.put(f"jobs/{job_id}/result.json", record)


@pytest.mark.parametrize("is_open", [False, True], ids=["new", "open"])
def test_a_job_with_a_damaged_result_fails_and_the_others_are_served(scene, is_open):
    if is_open:
        scene.accept("bad")
        scene.round()
    finished(scene, "bad")
    damage(scene.store, "jobs/bad/result.json")
    scene.accept("good")

    assert "good" in served(scene, times=20)

    status = scene.runtime.ledger.status("bad")
    assert (status.state, in_line(scene)) == (JobState.FAILED, ["good"])
    assert status.reason.startswith("job cannot be served: blob jobs/bad/result.json")


def test_a_result_of_another_version_stays_and_its_job_leaves_the_line(scene):
    finished(scene, "bad", b'{"colour": 3}')
    scene.accept("good")

    assert served(scene) == {"good"}
    assert in_line(scene) == ["good"]
    assert scene.runtime.ledger.has_result("bad")


@pytest.mark.parametrize("record", [b"{", b"7", b'{"prompt": 7}'], ids=["cut", "number", "field"])
def test_an_unplanned_job_whose_request_cannot_be_read_fails_alone(scene, record):
    for job_id in ("bad", "good"):
        scene.submit(job_id)
    scene.store.delete("jobs/bad/request.json")
    scene.store.put("jobs/bad/request.json", record)

    scene.round(1.0, times=20)

    assert (scene.publisher.plans, in_line(scene)) == (["good"], ["good"])
    assert scene.runtime.ledger.failure("bad").startswith("job cannot be served: ")


def test_an_unplanned_job_whose_request_the_store_does_not_give_keeps_back_no_other(
    scene, refusals
):
    for job_id in ("bad", "good"):
        scene.submit(job_id)
    refusals.keys.add("jobs/bad/request.json")
    scene.round(1.0, times=20)
    scene.accept("planned")

    assert served(scene) == {"planned"}
    refusals.keys.clear()
    scene.round(1.0, times=10)
    assert scene.publisher.plans == ["good", "bad"]


def test_a_plan_record_without_a_plan_fails_its_job_alone(scene):
    scene.submit("bad")
    scene.store.put("jobs/bad/plan.json", b"{}")
    scene.accept("good")

    assert served(scene) == {"good"}
    assert in_line(scene) == ["good"]


def test_a_job_whose_plan_is_damaged_fails_alone_and_can_be_resumed(scene, monkeypatch):
    damage(scene.store, plan_key(scene.accept("bad").hash))
    scene.accept("good")

    assert served(scene) == {"good"}
    assert scene.runtime.ledger.status("bad").state is JobState.FAILED

    monkeypatch.setattr("app.client.runtime", lambda: scene.runtime)
    monkeypatch.setattr("app.client.celery", Mock())
    monkeypatch.setattr("app.client.Publisher", lambda _: scene.publisher)
    client.resume("bad")
    assert scene.publisher.plans == ["bad"]
