"""Blobs of an open job that are gone, whoever removed them, are made again."""

from app.domain.work import Stage, Work, plan_key
from tests.unit.scheduling.scene import Scene, tiles


def test_what_a_unit_needs_is_sent_before_it_when_it_is_gone():
    scene = Scene(lookahead_s=100)
    plan = scene.accept()
    scene.node()
    sent = [work for one in scene.round() for work in one.units]
    scene.store.delete(Work(Stage.PREPARE, 0).key(plan))
    scene.rendered("job", plan, sent[0], status="gone")

    again = scene.round(after_s=0.3)

    assert sent[0] in tiles(9)
    assert [work for one in again for work in one.units] == [Work(Stage.PREPARE, 0)]


def test_the_plan_of_an_open_job_is_written_again():
    scene = Scene()
    plan = scene.accept()
    scene.node()
    sent = scene.round()[0].units[0]
    scene.store.delete(plan_key(plan.hash))
    scene.rendered("job", plan, sent, status="gone")

    scene.round(after_s=0.3)

    assert scene.store.get(plan_key(plan.hash)) == plan.to_json()


def test_a_job_whose_plan_is_gone_is_planned_again():
    scene = Scene()
    plan = scene.accept()
    scene.store.delete(plan_key(plan.hash))

    scene.round()
    scene.round(after_s=20)

    assert scene.publisher.plans == ["job"]
    assert scene.runtime.ledger.failure("job") is None
