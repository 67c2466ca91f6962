"""Units that are sent once more: the lost ones, and those that an idle worker would end sooner."""

import pytest

from app.domain.spec import Priority
from app.domain.work import Stage, Work, loaded_label
from tests.unit.scheduling.scene import Scene, tiles

HEARTBEAT_S = 2.0


@pytest.fixture
def scene():
    scene = Scene(lookahead_s=60.0, slice_units=9)
    scene.node("w1@a")
    return scene


def sent(scene, after_s=1.0, times=1):
    return [work for one in scene.round(after_s, times=times) for work in one.units]


def begin(scene, **changes):
    """A job whose nine tiles have all been sent, one second ago."""
    plan = scene.accept(**changes)
    assert sent(scene) == tiles(9)
    return plan


def test_a_unit_in_a_queue_is_awaited(scene):
    begin(scene)
    scene.publisher.ready["gpu"] = 9

    assert sent(scene, times=30) == []


def test_a_unit_that_a_node_works_on_is_awaited(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work)

    for elapsed_s in range(30):
        scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=elapsed_s)
        assert sent(scene) == []


def test_a_unit_that_is_nowhere_for_three_heartbeats_is_sent_again(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work)
    scene.round(1.0)

    early = sent(scene, times=int(2 * HEARTBEAT_S))
    late = scene.round(HEARTBEAT_S, times=2)

    assert early == []
    assert [(one.units, one.slice.attempt) for one in late] == [((tiles(9)[0],), 1)]


def test_the_unit_of_a_node_that_fell_silent_goes_out_at_once(scene):
    plan = begin(scene)
    scene.publisher.ready["gpu"] = 8
    scene.round(1.0)
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=1.0)
    scene.node("w2@a")
    assert sent(scene) == []

    def silence():
        scene.node("w2@a")
        return sent(scene)

    found = [silence() for _ in range(int(3 * HEARTBEAT_S) + 1)]

    assert [work for works in found for work in works] == tiles(9)[:1]


def test_a_lost_unit_goes_before_all_that_lies_in_the_queue(scene):
    plan = begin(scene)
    scene.publisher.ready["gpu"] = 8
    scene.round(1.0)
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=1.0)
    scene.node("w2@a")

    scene.round(1.0)
    for _ in range(int(3 * HEARTBEAT_S) + 1):
        scene.node("w2@a")
        scene.round(1.0)

    first, *_, last = scene.publisher.slices
    assert (first.slice.priority, last.slice.priority) == (Priority.NORMAL, Priority.HIGH)
    assert last.units == (tiles(9)[0],)


def overtake(scene, priority=Priority.NORMAL):
    """All but the first unit of a job are done, and the first of what was sent after them."""
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work)
    later = scene.accept("later", priority=priority, count=10)
    scene.round(1.0)
    scene.publisher.ready["gpu"] = 5
    scene.rendered("later", later, tiles(9)[0])
    return plan


def again(scene, show=lambda: None):
    """What is sent a second time within four heartbeats; nodes *show* theirs every second."""
    found = []
    for _ in range(int(4 * HEARTBEAT_S)):
        show()
        found += [work for one in scene.round(1.0) if one.slice.attempt for work in one.units]
    return found


def test_a_unit_that_later_ones_have_overtaken_is_nowhere(scene):
    overtake(scene)

    assert again(scene) == tiles(9)[:1]


def test_a_unit_that_was_overtaken_is_awaited_where_a_node_has_it(scene):
    plan = overtake(scene)

    shown = {"current": ("job", plan, tiles(9)[0])}
    assert again(scene, lambda: scene.node("w1@a", **shown)) == []


def test_what_is_served_first_for_its_priority_overtakes_nothing(scene):
    overtake(scene, priority=Priority.HIGH)

    assert again(scene) == []


def test_a_unit_whose_blob_is_there_after_all_is_not_sent_again(scene):
    plan = begin(scene)
    for work in tiles(9):
        scene.store.put(work.key(plan), b"{}")  # nobody has heard of it

    assert [work for work in sent(scene, 2.0, times=5) if work.stage is Stage.TILE] == []


def test_while_nobody_can_be_seen_only_far_too_long_a_time_tells():
    scene = Scene(lookahead_s=60.0, slice_units=9)
    begin(scene)

    assert sent(scene, times=60) == []
    assert sent(scene, times=30) == tiles(9)


def test_the_slowest_last_unit_is_given_to_an_idle_worker_too(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work, seconds=1.0)
    scene.node("w2@a")
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=20.0)

    assert sent(scene, 2.0) == tiles(9)[:1]


def test_no_unit_of_a_paused_job_is_copied(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work, seconds=1.0)
    scene.runtime.entries.pause("job")
    scene.told.append({"kind": "job", "job_id": "job"})
    scene.node("w2@a")
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=20.0)

    assert sent(scene, 2.0) == []


def test_a_unit_of_which_nobody_knows_how_long_it_takes_is_not_copied(scene):
    plan = scene.accept()
    prepare = Work(Stage.PREPARE, 0)
    scene.store.delete(prepare.key(plan))
    assert sent(scene) == [prepare]
    scene.node("w2@a")
    scene.node("w1@a", current=("job", plan, prepare), elapsed_s=500.0)

    assert sent(scene, 2.0) == []


def test_a_unit_is_not_copied_while_its_worker_may_still_load_the_model(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work, seconds=0.05)
    scene.node("w2@a")
    # As its heartbeat showed it, two seconds before the look.
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=3 * HEARTBEAT_S - 2.1)

    assert sent(scene, 2.0) == []


@pytest.mark.parametrize(
    ("elapsed_s", "copied"), [(0.9 * HEARTBEAT_S, []), (1.1 * HEARTBEAT_S, tiles(9)[:1])]
)
def test_with_its_model_loaded_a_unit_hangs_after_a_heartbeat(scene, elapsed_s, copied):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work, seconds=0.05)
    scene.node("w2@a")
    shown = {"current": ("job", plan, tiles(9)[0]), "models": [loaded_label(plan, Stage.TILE)]}
    scene.node("w1@a", **shown, elapsed_s=elapsed_s - 1.0)

    assert sent(scene, 1.0) == copied


def test_no_unit_is_copied_while_others_wait(scene):
    plan = begin(scene)
    for work in tiles(9)[2:]:
        scene.rendered("job", plan, work, seconds=1.0)
    scene.publisher.ready["gpu"] = 1
    scene.node("w2@a")
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=20.0)

    assert sent(scene, 2.0) == []


def test_a_unit_is_copied_once(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work, seconds=1.0)
    found = []
    for elapsed_s in (20.0, 22.0, 24.0):
        scene.node("w2@a", current=("job", plan, tiles(9)[0]) if found else None)
        scene.node("w3@a")
        scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=elapsed_s)
        found += sent(scene, 2.0)

    assert found == tiles(9)[:1]


def test_the_first_of_two_answers_ends_the_unit(scene):
    plan = begin(scene)
    for work in tiles(9)[1:]:
        scene.rendered("job", plan, work, seconds=1.0)
    scene.node("w2@a")
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=20.0)
    scene.round(2.0)

    scene.rendered("job", plan, Work(Stage.TILE, 0, 0, 0), node="w2@a")
    scene.rendered("job", plan, Work(Stage.TILE, 0, 0, 0), node="w1@a", status="present")
    scene.node("w1@a")

    assert sent(scene, 2.0, times=5) == []
    (job,) = scene.dispatcher._line
    assert job.flying == {}


def test_lost_units_of_a_paused_job_wait_until_it_goes_on(scene):
    plan = begin(scene)
    scene.publisher.ready["gpu"] = 8
    scene.round(1.0)
    scene.node("w1@a", current=("job", plan, tiles(9)[0]), elapsed_s=1.0)
    scene.runtime.entries.pause("job")
    scene.told.append({"kind": "job", "job_id": "job"})

    def silence():
        scene.node("w2@a")
        return sent(scene)

    assert [silence() for _ in range(int(4 * HEARTBEAT_S))] == [[]] * int(4 * HEARTBEAT_S)
    scene.runtime.entries.unpause("job")
    scene.told.append({"kind": "job", "job_id": "job"})
    assert tiles(9)[0] in silence() + silence()
