"""When the next picture of a tenant is opened."""

from dataclasses import replace

import pytest

from app.domain.spec import Priority
from app.domain.work import Stage, Work
from app.scheduling.placing import Placing
from tests.unit.scheduling.scene import Scene, short_queue, tiles


@pytest.fixture
def scene():
    return short_queue()


def sent(slices):
    """Each slice's job, the stage of its units and how many there are."""
    return [(one.job_id, str(one.units[0].stage), len(one.units)) for one in slices]


def drained(scene):
    """The next slices, after workers took all that was there."""
    scene.publisher.ready["gpu"] = 0
    return scene.round(1.0)


def opened(scene, plan, job_id, image=0):
    for stage in (Stage.BASE, Stage.PREPARE):
        scene.rendered(job_id, plan, Work(stage, image))


def test_a_job_is_opened_before_the_tiles_of_the_one_before_it_are_sent(scene):
    scene.accept("first")
    scene.accept("second", is_opened=False)

    assert sent(scene.round()) == [
        ("second", "base", 1),
        ("first", "tile", 2),
        ("first", "tile", 1),
    ]


def test_a_job_is_opened_in_all_its_steps(scene):
    scene.accept("first")
    second = scene.accept("second", is_opened=False)
    scene.round()

    scene.rendered("second", second, Work(Stage.BASE, 0))

    assert sent(drained(scene))[0] == ("second", "prepare", 1)


def test_one_job_is_opened_at_a_time(scene):
    scene.accept("first")
    second = scene.accept("second", is_opened=False)
    scene.accept("third", is_opened=False)

    assert "third" not in {one.job_id for one in scene.round()}
    assert sent(drained(scene)) == [("first", "tile", 2)] * 2
    opened(scene, second, "second")
    assert sent(drained(scene))[0] == ("first", "tile", 2)


def test_the_next_but_one_is_opened_when_the_next_one_is_rendered(scene):
    first = scene.accept("first")
    scene.accept("second")
    scene.accept("third", is_opened=False)
    assert "third" not in {one.job_id for one in scene.round()}

    for image_stage in (Stage.TILE, Stage.MERGE, Stage.HEAD, Stage.CORE, Stage.PICTURE):
        scene.finish(first, 0, image_stage)
    scene.board.tell({"kind": "job", "job_id": "first"})

    assert ("third", "base", 1) in sent(drained(scene))


def test_another_tenants_job_is_opened_in_its_own_turn(scene):
    scene.accept("first")
    scene.accept("other", tenant="other", is_opened=False)

    assert sent(scene.round())[:2] == [("first", "tile", 2), ("other", "base", 1)]


def test_a_lower_class_is_not_opened_before_a_higher_one_is_served(scene):
    scene.accept("high", priority=Priority.HIGH)
    scene.accept("low", priority=Priority.LOW, is_opened=False)

    assert {one.job_id for one in scene.round()} == {"high"}


def test_a_paused_job_is_not_opened_and_takes_nobodys_place(scene):
    scene.accept("first")
    scene.accept("paused")
    scene.runtime.entries.pause("paused")
    scene.accept("third", is_opened=False)

    assert sent(scene.round())[0] == ("third", "base", 1)


def test_a_picture_of_a_batch_is_opened_while_the_one_before_it_is_rendered(scene):
    plan = scene.accept("batch", is_opened=False, count=3)
    for image in range(2):
        scene.finish(plan, image, Stage.BASE, Stage.PREPARE)
    scene.finish(plan, 1, Stage.TILE)  # it waits for the control worker

    (first, *others) = scene.round()

    assert first.units == (Work(Stage.BASE, 2),)
    assert {work.image for one in others for work in one.units} == {0}


def learn(scene, *, opening_s):
    """A job with many tiles of 1 s, whose base and preparation took *opening_s* each."""
    plan = scene.accept("known", is_opened=False, height=4096, width=4096)
    opening = [(Work(stage, 0), opening_s) for stage in (Stage.BASE, Stage.PREPARE)]
    for work, seconds in [*opening, (tiles(1)[0], 1.0)]:
        scene.round()
        scene.rendered("known", plan, work, seconds=seconds)
    scene.round()


def test_a_short_unit_makes_no_room_for_long_ones(scene):
    """The queue takes hundreds of bases of ten milliseconds, and four tiles of a second."""
    learn(scene, opening_s=0.01)
    scene.accept("second", is_opened=False)

    units = [work for one in drained(scene) for work in one.units]

    assert [work.stage for work in units].count(Stage.BASE) == 1
    assert 0 < [work.stage for work in units].count(Stage.TILE) <= 4


def test_a_long_base_does_not_keep_tiles_from_a_queue_that_has_room_for_them(scene):
    learn(scene, opening_s=60.0)
    scene.accept("second", is_opened=False)
    scene.publisher.ready["gpu"] = 2

    assert sent(scene.round(1.0)) == [("second", "base", 1), ("known", "tile", 1)]


def test_stages_share_the_room_of_their_queue(scene):
    for tenant, stages in (("tiles", ()), ("cores", (Stage.TILE, Stage.MERGE, Stage.HEAD))):
        plan = scene.accept(tenant, tenant=tenant)
        scene.finish(plan, 0, *stages)

    slices = sent(scene.round())

    assert {stage for _, stage, _ in slices} == {"tile", "core"}
    assert sum(count for *_, count in slices) == 4


def test_who_cannot_be_opened_does_not_hold_up_what_is_open(monkeypatch):
    """No living node has the memory for a base, each has enough for tiles."""
    scene = Scene(placing="round_robin", lookahead_s=2.0)
    for name in ("a@h", "b@h"):
        scene.node(name, queue=f"render.node.{name}", memory_gb=8.0)
    plan = scene.accept("batch", is_opened=False, count=2)
    scene.finish(plan, 0, Stage.BASE, Stage.PREPARE)
    ask = Placing.need

    def need(self, job, work):
        needs_gb = 99.0 if work.stage is Stage.BASE else 4.0
        return replace(ask(self, job, work), memory_gb=needs_gb)

    monkeypatch.setattr(Placing, "need", need)

    assert [stage for _, stage, _ in sent(scene.round())] == ["tile"]


def test_a_picture_is_opened_at_a_node_with_a_queue_of_its_own():
    scene = Scene(placing="round_robin", lookahead_s=2.0)
    scene.node("a@h", queue="render.node.a@h", memory_gb=8.0)
    scene.accept("first")
    scene.accept("second", is_opened=False)

    assert sent(scene.round()) == [("second", "base", 1), ("first", "tile", 1)]
