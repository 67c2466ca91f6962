"""Units that another node is given too, or before others."""

import pytest

from app.domain.errors import BrokerUnavailableError
from app.domain.spec import Priority
from tests.unit.scheduling.nodes import A, B, placing, sent, shares, show
from tests.unit.scheduling.scene import TILES, tiles


def test_what_takes_too_long_is_given_to_a_node_that_idles():
    scene = placing("resource")
    plan = scene.accept()
    slow, busy, *others = tiles(TILES)
    for work in others:
        scene.store.put(work.key(plan), b"{}")
    show(scene, A, current=("job", plan, slow), elapsed_s=30.0)
    show(scene, "c@h", current=("job", plan, busy), memory_gb=4.0)
    scene.round()
    scene.rendered("job", plan, others[0], seconds=1.0, node=B)

    late = scene.round(1.0)

    assert [(one.units, one.slice.nodes) for one in late] == [((slow,), (B,))]


def test_the_sent_again_are_told_apart_from_first_attempts():
    scene = placing(slice_units=32)
    scene.accept()
    sent(scene)

    show(scene, A, state="draining")

    assert {one.slice.attempt for one in scene.round(1.0)} == {1}


def test_what_could_not_be_sent_is_placed_again():
    scene = placing()
    scene.accept()
    scene.publisher.is_down = True
    with pytest.raises(BrokerUnavailableError):
        scene.round()
    scene.publisher.is_down = False

    assert shares(sent(scene)) == {A: 2, B: 2}


def test_another_dispatcher_knows_what_nodes_work_on():
    scene = placing(slice_units=32)
    plan = scene.accept(priority=Priority.HIGH)
    held = tiles(TILES)[0]
    show(scene, A, current=("job", plan, held))

    scene.round()
    job = next(iter(scene.dispatcher._line))

    assert (job.flying[held].node, job.flying[held].level) == (A, Priority.HIGH)


def test_what_nodes_have_of_lower_work_keeps_no_higher_job_waiting():
    scene = placing()
    scene.accept("low", priority=Priority.LOW)
    sent(scene)

    scene.accept("high", priority=Priority.HIGH)
    later = scene.round(1.0)

    assert {one.job_id for one in later} == {"high"}
    assert later[0].slice.nodes == (A, B, A, B)


def test_what_nodes_have_of_a_job_that_was_raised_since_keeps_its_other_units_waiting_no_more():
    scene = placing()
    scene.accept("low", priority=Priority.LOW)
    sent(scene)

    scene.runtime.entries.prioritise("low", Priority.HIGH, 1)

    assert shares(sent(scene, 1.0)) == {A: 2, B: 2}


@pytest.mark.parametrize(
    ("at_hand", "copied_to"), [(Priority.LOW, [(B,)]), (Priority.HIGH, [])], ids=["low", "high"]
)
def test_what_takes_too_long_goes_to_a_node_that_has_lower_work_alone(at_hand, copied_to):
    scene = placing(lookahead_s=9.0, slice_units=9)
    plan = scene.accept("high", priority=Priority.HIGH)
    sent(scene)
    for work in tiles(TILES)[1:]:
        scene.rendered("high", plan, work, node=B)
    other = scene.accept("other", priority=at_hand, count=9)
    scene.round(1.0)
    show(scene, A, current=("high", plan, tiles(TILES)[0]), elapsed_s=30.0)
    show(scene, B, current=("other", other, tiles(TILES)[0]))

    late = [one for one in scene.round(1.0, times=3) if one.slice.attempt]

    assert [one.slice.nodes for one in late] == copied_to
