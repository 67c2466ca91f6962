"""Blobs of an open job that are gone, whoever removed them, are made again."""

import pytest

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


def all_rendered(scene, plan):
    """Let workers render all that is sent, and lose one tile each time."""
    for one in scene.round(0.3):
        for work in one.units:
            scene.rendered("job", plan, work)
    scene.round(0.3)
    scene.store.delete(tiles(9)[3].key(plan))


def looked_at(scene):
    """As a control worker tells that looked for what it can merge."""
    scene.told.append({"kind": "job", "job_id": "job", "images": [0]})


def audited(scene):
    scene.hand.now_s += 6


@pytest.mark.parametrize("looks", [looked_at, audited])
def test_a_tile_that_the_store_confirms_and_loses_every_time_ends_its_job(looks):
    scene = Scene(lookahead_s=100)
    plan = scene.accept()
    scene.node()

    for _ in range(30):
        all_rendered(scene, plan)
        looks(scene)

    sent = [work for one in scene.publisher.slices for work in one.units]
    assert sent.count(tiles(9)[3]) == 6
    assert len(sent) == 9 + 5
    assert scene.runtime.ledger.failure("job") == (
        "job cannot be served: tile 3 of image 0 was stored and lost 6 times"
    )
    assert scene.runtime.entries.all() == []


def test_a_tile_that_is_lost_a_few_times_is_rendered_again():
    scene = Scene(lookahead_s=100)
    plan = scene.accept()
    scene.node()

    for _ in range(5):
        all_rendered(scene, plan)
        looked_at(scene)
    scene.round(0.3)

    assert scene.publisher.units().count(tiles(9)[3]) == 6
    assert scene.runtime.ledger.failure("job") is None
