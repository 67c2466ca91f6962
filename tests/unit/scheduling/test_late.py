"""Units that take too long while other work waits: whoever is free next takes a copy first."""

import pytest

from app.domain.spec import Priority
from tests.unit.scheduling.scene import Scene, tiles

HANGS, ALSO_HANGS, *OTHERS = tiles(9)


@pytest.fixture
def scene():
    """Tiles are known to take 1 s."""
    scene = Scene(lookahead_s=4.0, slice_units=9, heartbeat_s=2.0)
    for name in ("w1@a", "w2@a", "w3@a"):
        scene.node(name)
    plan = scene.accept("before")
    scene.round()
    for work in tiles(9):
        scene.rendered("before", plan, work)
    scene.runtime.entries.close("before")
    scene.round(1.0)
    return scene


def hang(
    scene,
    *,
    priority=Priority.HIGH,
    units=(HANGS,),
    elapsed_s=20.0,
    other=Priority.LOW,
    count=40,
    busy=("w2@a", "w3@a"),
    **facts,
):
    """The last *units* of a job hang, one on each of the first nodes; its plan.

    *busy* nodes work on *other* work of *count* pictures, of which the queue is full.
    """
    plan = scene.accept(priority=priority)
    scene.round(1.0)
    for work in set(tiles(9)) - set(units):
        scene.rendered("job", plan, work)
    other_plan = scene.accept("other", priority=other, count=count)
    scene.round(1.0)
    for number, work in enumerate(units, start=1):
        scene.node(f"w{number}@a", current=("job", plan, work), elapsed_s=elapsed_s)
    for index, name in enumerate(busy):
        scene.node(name, current=("other", other_plan, tiles(9)[index]), **facts)
    scene.publisher.ready["gpu"] = 4
    return plan


def copies(scene, after_s=1.0, times=1):
    """Units that are sent a second time, with the level of their message."""
    return [
        (one.job_id, work, one.slice.priority)
        for one in scene.round(after_s, times=times)
        if one.slice.attempt
        for work in one.units
    ]


@pytest.mark.parametrize("count", [1, 40], ids=["in the queue", "to be sent as well"])
@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.NORMAL])
def test_what_hangs_is_copied_before_lower_work_that_waits(scene, priority, count):
    hang(scene, priority=priority, count=count)

    assert copies(scene) == [("job", HANGS, Priority.HIGH)]


@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.NORMAL])
def test_what_hangs_is_not_copied_before_work_of_its_own_or_a_higher_class(scene, priority):
    hang(scene, priority=Priority.NORMAL, other=priority)

    assert copies(scene, times=5) == []


def test_nothing_is_copied_before_work_in_the_queue_of_its_own_class(scene):
    hang(scene, busy=["w2@a"], other=Priority.HIGH, count=1)

    assert copies(scene, times=3) == []


def test_nothing_is_copied_before_messages_that_nobody_knows(scene):
    hang(scene)
    scene.publisher.ready["gpu"] = 100

    assert copies(scene, times=5) == []


def test_no_more_is_copied_than_others_can_take(scene):
    hang(scene, units=(HANGS, ALSO_HANGS), busy=["w3@a"])

    assert len(copies(scene)) == 1


def test_nothing_more_is_copied_while_a_copy_waits(scene):
    hang(scene, units=(HANGS, ALSO_HANGS), busy=["w3@a"])
    copies(scene)
    scene.publisher.ready["gpu"] += 1

    assert copies(scene, times=3) == []


def test_another_is_copied_when_the_copy_is_begun(scene):
    plan = hang(scene, units=(HANGS, ALSO_HANGS), busy=["w3@a"])
    ((_, first, _),) = copies(scene)
    scene.hand.now_s += 1.0
    scene.node("w3@a", current=("job", plan, first), elapsed_s=0.5)
    scene.node("w4@a")

    ((_, second, _),) = copies(scene)

    assert {first, second} == {HANGS, ALSO_HANGS}


def test_a_worker_of_the_same_job_is_not_counted_on(scene):
    plan = hang(scene, units=(HANGS, ALSO_HANGS), busy=[])
    scene.node("w2@a", current=("job", plan, ALSO_HANGS), elapsed_s=1.0)
    scene.node("w3@a", state="paused")

    assert copies(scene, times=2) == []


@pytest.mark.parametrize("state", ["paused", "draining"])
def test_a_node_that_takes_no_work_is_not_counted_on(scene, state):
    hang(scene, state=state)

    assert copies(scene, times=2) == []


def test_a_unit_that_ends_before_the_others_are_free_is_not_copied(scene):
    hang(scene, elapsed_s=15.0, more=list(range(1, 9)))

    assert copies(scene) == []


def test_a_unit_that_ends_before_others_have_done_both_their_messages_is_not_copied(scene):
    hang(scene, elapsed_s=15.0, busy=[])
    other = scene.accept("two", priority=Priority.LOW, count=40)
    first, second = [("two", other, tiles(9)[index]) for index in (0, 5)]
    five = {"more": list(range(1, 5))}
    for name in ("w2@a", "w3@a"):
        scene.node(name, current=second, earlier=first, **five)
    assert copies(scene) == []

    for name in ("w2@a", "w3@a"):
        scene.node(name, current=second, **five)

    assert copies(scene) == [("job", HANGS, Priority.HIGH)]


def test_a_worker_that_shows_only_what_is_done_is_counted_on(scene):
    plan = hang(scene, busy=[])
    scene.node("w2@a", current=("job", plan, OTHERS[0]), elapsed_s=1.0)
    scene.node("w3@a", state="paused")

    assert copies(scene) == [("job", HANGS, Priority.HIGH)]


def look_at_what_begins_to_hang(scene, **others):
    """A look that finds nothing late, then a quarter of a second in which the first unit is."""
    plan = hang(scene, elapsed_s=1.0, **others)
    scene.round(1.0)
    scene.node("w1@a", current=("job", plan, HANGS), elapsed_s=20.0)
    return copies(scene, 0.25)


def test_once_all_is_sent_what_hangs_is_seen_within_an_eighth_of_a_heartbeat(scene):
    late = look_at_what_begins_to_hang(scene, count=1, busy=["w2@a"])

    assert late == [("job", HANGS, Priority.HIGH)]


def test_while_all_workers_have_work_nodes_are_read_twice_a_heartbeat(scene):
    assert look_at_what_begins_to_hang(scene, count=1, busy=("w2@a", "w3@a")) == []


def test_while_units_are_to_be_sent_nodes_are_read_twice_a_heartbeat(scene):
    assert look_at_what_begins_to_hang(scene, count=40, busy=["w2@a"]) == []
    assert copies(scene, 0.75) == [("job", HANGS, Priority.HIGH)]
