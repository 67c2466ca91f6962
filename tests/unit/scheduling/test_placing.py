"""Units that are sent to a node by name, as the settings ask."""

from collections import Counter

import pytest

from app.domain.errors import BrokerUnavailableError
from app.domain.scheduling.placement import Strategy
from app.domain.spec import Lora, Priority
from tests.unit.scheduling.scene import TILES, Scene, tiles

A, B = "a@h", "b@h"


def placing(strategy="round_robin", **settings) -> Scene:
    """Two nodes with queues of their own, for a model that nobody has seen yet: 1 s a unit."""
    scene = Scene(placing=strategy, **({"lookahead_s": 2.0} | settings))
    show(scene, A)
    show(scene, B)
    return scene


def show(scene, name, **facts):
    scene.node(name, **({"queue": f"render.node.{name}", "memory_gb": 8.0} | facts))


def sent(scene, after_s=0.0):
    """Whose queue each unit was put into, unit by unit."""
    return {
        work: node
        for one in scene.round(after_s)
        for work, node in zip(one.units, one.slice.nodes or [""] * len(one.units), strict=True)
    }


def shares(placed):
    return dict(Counter(placed.values()))


def test_least_load_leaves_units_in_the_shared_queue_of_the_pool():
    scene = placing("least_loaded")
    scene.accept()

    assert set(sent(scene).values()) == {""}


def test_round_robin_gives_every_node_what_it_has_room_for():
    scene = placing()
    scene.accept()

    assert shares(sent(scene)) == {A: 2, B: 2}


def test_a_pool_may_have_a_strategy_of_its_own():
    scene = Scene(pool_placing={"gpu": Strategy.ROUND_ROBIN})
    show(scene, A)
    scene.accept()

    assert set(sent(scene).values()) == {A}


def test_a_node_gets_more_when_half_of_what_it_had_is_done():
    scene = placing()
    plan = scene.accept()
    first = sent(scene)
    done = next(work for work, node in first.items() if node == B)

    assert sent(scene) == {}
    scene.rendered("job", plan, done, node=B)
    assert shares(sent(scene)) == {B: 1}


def test_nothing_is_sent_before_a_node_has_used_up_half():
    scene = placing(lookahead_s=4.0, slice_units=32)
    plan = scene.accept()
    of_a = [work for work, node in sent(scene).items() if node == A]

    scene.rendered("job", plan, of_a[0], node=A)
    assert sent(scene) == {}
    scene.rendered("job", plan, of_a[1], node=A)
    assert len(sent(scene)) == 1  # there were nine


def test_short_units_are_given_out_for_as_long_as_the_look_ahead():
    scene = placing(lookahead_s=2.0, slice_units=32)
    plan = scene.accept("job", height=2048, width=2048)
    for work in sent(scene):
        scene.rendered("job", plan, work, seconds=0.25, node=A)

    assert max(shares(sent(scene)).values()) >= 6


def test_weights_decide_who_gets_how_much():
    scene = placing("weighted", lookahead_s=4.0, slice_units=32)
    show(scene, A, weight=3.0)
    show(scene, B, weight=1.0)
    scene.accept()

    placed = sent(scene)

    assert shares(placed)[A] >= 3 * shares(placed).get(B, 1)


def test_affinity_leaves_a_short_job_to_the_node_that_has_its_model():
    scene = placing("affinity")
    show(scene, B, models=["sd15"])
    scene.accept()

    assert shares(sent(scene)) == {B: 2}
    assert sent(scene, 1.0) == {}


def test_what_had_to_wait_is_placed_later():
    scene = placing("affinity")
    show(scene, B, models=["sd15"])
    plan, first = scene.accept(), sent(scene)
    placed = dict(first)

    while first:
        for work in first:
            scene.rendered("job", plan, work, node=B)
        first = sent(scene)
        placed |= first

    assert set(placed) == set(tiles(TILES))


def test_affinity_lets_an_idle_node_load_the_model_when_the_bound_is_passed():
    scene = placing("affinity", steal_after_s=4.0)
    show(scene, B, models=["sd15"])
    scene.accept()

    assert A in sent(scene).values()


def test_a_model_that_is_on_its_way_to_a_node_counts_as_loaded():
    scene = placing("affinity", steal_after_s=100.0)
    plan = scene.accept()

    first = sent(scene)
    assert len(shares(first)) == 1
    scene.rendered("job", plan, next(iter(first)), node=A)
    assert shares(sent(scene)) == {A: 1}


def test_another_lora_is_another_model():
    scene = placing("affinity")
    show(scene, B, models=["sd15+ink"])
    scene.accept()

    assert shares(sent(scene)) == {A: 2}


def test_a_unit_goes_to_no_node_with_too_little_memory(monkeypatch):
    monkeypatch.setattr("app.scheduling.reach.memory_gb", lambda *_: 12.0)
    scene = placing("random")
    show(scene, B, memory_gb=24.0)
    scene.accept()

    assert set(sent(scene).values()) == {B}


POOLS = {"control": ["plan.*", "finish.*"], "gpu": ["base.*", "tile.*", "upscale.*"], "large": []}


def too_large_for_gpu(monkeypatch, **settings) -> Scene:
    """Two nodes of 8 GB, one of 40 GB in the bigger pool, and a model of 12 GB."""
    monkeypatch.setattr("app.scheduling.reach.memory_gb", lambda *_: 12.0)
    scene = placing("round_robin", pools=POOLS, bigger_pool={"gpu": "large"}, **settings)
    show(scene, "c@h", pool="large", memory_gb=40.0)
    scene.accept()
    return scene


def test_what_no_node_of_its_pool_can_hold_goes_to_the_bigger_pool(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)

    found = scene.round()

    assert {(one.pool, one.slice.nodes) for one in found} == {("large", ())}


def test_a_bigger_pool_may_have_a_strategy_and_a_bigger_pool_of_its_own(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(
        pools=POOLS | {"large": ["tile.none"], "huge": ["tile.none"]},
        bigger_pool={"gpu": "large", "large": "huge"},
    )
    show(scene, "c@h", pool="large", memory_gb=10.0)
    show(scene, "d@h", pool="huge", memory_gb=40.0)

    found = scene.round()

    assert {(one.pool, set(one.slice.nodes).pop()) for one in found} == {("huge", "d@h")}


@pytest.mark.parametrize("pool", ["gpu", "large"])
def test_a_pool_without_any_node_is_given_what_it_may_hold_once_one_is_started(monkeypatch, pool):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(pools=POOLS | {"large": ["tile.none"]})
    for name in {"gpu": (A, B), "large": ("c@h",)}[pool]:
        scene.board.hide("nodes", name)

    assert {(one.pool, one.slice.nodes) for one in scene.round()} == {(pool, ())}


def test_workers_that_choose_themselves_find_out_what_does_not_fit(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(placing=Strategy.LEAST_LOADED)

    assert {one.pool for one in scene.round()} == {"gpu"}


def test_what_is_lost_with_the_last_node_that_could_hold_it_goes_to_the_bigger_pool(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    show(scene, "big@h", memory_gb=40.0)
    (first, *_) = scene.round()
    assert (first.pool, set(first.slice.nodes)) == ("gpu", {"big@h"})
    scene.board.hide("nodes", "big@h")

    again = scene.round(2.0, times=2)

    assert {one.pool for one in again} == {"large"}
    assert set(first.units) <= {work for one in again for work in one.units}


def test_what_a_node_of_its_pool_can_hold_waits_for_it(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    show(scene, B, memory_gb=24.0, state="paused")

    assert sent(scene) == {}


def test_what_no_pool_can_hold_waits_for_its_own(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(bigger_pool={"gpu": "control", "control": "gpu"}, pool_placing={})
    scene.with_settings(pools=POOLS | {"control": ["plan.*", "finish.*", "tile.none"]})
    show(scene, "c@h", pool="control", memory_gb=10.0)

    assert sent(scene) == {}


def test_what_is_lost_in_the_bigger_pool_is_sent_there_again(monkeypatch):
    scene = too_large_for_gpu(monkeypatch, slice_units=32)
    first = set(sent(scene))

    again = []
    for _ in range(8):
        scene.hand.now_s += 1.0
        for name, pool, memory_gb in ((A, "gpu", 8.0), (B, "gpu", 8.0), ("c@h", "large", 40.0)):
            show(scene, name, pool=pool, memory_gb=memory_gb)
        again += [one for one in scene.round() if one.slice.attempt]

    assert {work for one in again for work in one.units} >= first
    assert {one.pool for one in again} == {"large"}


def test_what_a_worker_of_several_pools_has_is_sent_again_to_its_own(monkeypatch):
    scene = placing(slice_units=32)
    plan = scene.accept()
    held = tiles(TILES)[0]
    show(scene, A, pool="control,gpu", current=("job", plan, held))
    scene.round()

    scene.hand.now_s += 7.0
    again = [one for one in scene.round(1.0) if held in one.units]

    assert [one.pool for one in again] == ["gpu"]


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


def test_a_job_that_has_to_wait_lets_others_by():
    scene = placing("affinity")
    show(scene, A, models=["sd15"])
    show(scene, B, models=["sd15+ink"])
    scene.accept("first", priority=Priority.HIGH)
    scene.accept("second", loras=(Lora("ink", 1.0),))

    first, second = scene.round()

    assert (first.job_id, set(first.slice.nodes)) == ("first", {A})
    assert (second.job_id, set(second.slice.nodes)) == ("second", {B})


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


def sent_while_alive(scene, *names):
    """What is sent in eight seconds in which *names* are heard and nothing is in any queue."""
    placed = {}
    for _ in range(8):
        scene.hand.now_s += 1.0
        for name in names:
            show(scene, name)
        placed |= sent(scene)
    return placed


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
