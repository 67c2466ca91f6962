"""Units of nodes that fell silent, or take no more work."""

import pytest

from tests.unit.scheduling.nodes import A, B, placing, sent, sent_while_alive, show
from tests.unit.scheduling.scene import Scene


def test_a_node_that_fell_silent_gets_nothing():
    scene = placing()
    scene.hand.now_s += 7.0
    show(scene, B)
    scene.accept()

    assert {node for one in scene.round() for node in one.slice.nodes} == {B}


@pytest.mark.parametrize("state", ["paused", "draining"])
def test_a_node_that_takes_no_work_gets_none(state):
    scene = placing()
    show(scene, A, state=state)
    scene.accept()

    assert set(sent(scene).values()) == {B}


def test_a_paused_node_is_not_passed_over_for_the_shared_queue():
    scene = Scene(placing="round_robin")
    show(scene, A, state="paused")
    scene.accept()

    assert sent(scene) == {}


def test_without_any_node_that_has_a_queue_the_pool_gets_the_units():
    scene = Scene(placing="round_robin")
    scene.node(A)
    scene.accept()

    assert set(sent(scene).values()) == {""}


def test_units_in_the_queue_of_a_lost_node_go_to_another():
    scene = placing(slice_units=32)
    plan = scene.accept()
    first = sent(scene)
    of_a = {work for work, node in first.items() if node == A}

    scene.hand.now_s += 7.0
    show(scene, B, current=("job", plan, next(w for w, n in first.items() if n == B)))
    again = sent(scene)

    assert {work: again[work] for work in of_a} == dict.fromkeys(of_a, B)


def test_what_another_node_has_stays_there():
    scene = placing(slice_units=32)
    scene.accept()
    first = sent(scene)
    scene.publisher.ready = {B: 2}

    scene.hand.now_s += 7.0
    show(scene, B)

    assert not {work for work, node in first.items() if node == B} & set(sent(scene))


@pytest.mark.parametrize("state", ["paused", "draining"])
def test_units_in_the_queue_of_a_node_that_takes_no_more_work_go_to_another(state):
    scene = placing(slice_units=32)
    scene.accept()
    of_a = {work for work, node in sent(scene).items() if node == A}

    show(scene, A, state=state)
    again = sent(scene, 1.0)

    assert {work: again.get(work) for work in of_a} == dict.fromkeys(of_a, B)


def test_the_unit_a_draining_node_works_on_is_left_to_it():
    scene = placing(slice_units=32)
    plan = scene.accept()
    held, waiting = [work for work, node in sent(scene).items() if node == A]

    show(scene, A, state="draining", current=("job", plan, held))
    again = sent(scene, 1.0)

    assert waiting in again
    assert held not in again


def test_units_are_not_taken_away_while_nobody_can_tell_who_lives():
    scene = placing(slice_units=32)
    scene.accept()
    first = sent(scene)
    for name in (A, B):
        scene.board.hide("nodes", name)

    assert not set(first) & set(sent(scene, 5.0))


def test_a_message_that_has_vanished_from_a_nodes_queue_is_sent_to_another():
    scene = placing(slice_units=32)
    scene.accept()
    first = sent(scene)

    again = sent_while_alive(scene, A, B)

    other = {A: B, B: A}
    assert {work: again[work] for work in first} == {w: other[n] for w, n in first.items()}


def test_a_message_that_has_vanished_is_sent_to_the_only_node_again():
    scene = placing(slice_units=32)
    scene.board.hide("nodes", B)
    scene.accept()
    first = sent(scene)

    assert set(sent_while_alive(scene, A)) >= set(first)
