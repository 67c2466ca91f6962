"""Units that are sent to a node by name, as the settings ask."""

from collections import Counter

from app.domain.scheduling.placement import Strategy
from app.domain.spec import Lora, Priority
from tests.unit.scheduling.nodes import A, B, placing, sent, shares, show
from tests.unit.scheduling.scene import TILES, Scene, tiles


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


def test_a_job_that_has_to_wait_lets_others_by():
    scene = placing("affinity")
    show(scene, A, models=["sd15"])
    show(scene, B, models=["sd15+ink"])
    scene.accept("first", priority=Priority.HIGH)
    scene.accept("second", loras=(Lora("ink", 1.0),))

    first, second = scene.round()

    assert (first.job_id, set(first.slice.nodes)) == ("first", {A})
    assert (second.job_id, set(second.slice.nodes)) == ("second", {B})


def test_tenants_get_equal_shares_of_nodes_that_have_little_room():
    scene, served = placing(slice_units=8), Counter()
    plans = {
        f"{tenant}-{number}": scene.accept(f"{tenant}-{number}", tenant=tenant)
        for tenant in ("first", "second")
        for number in range(4)
    }

    for _ in range(10):
        show(scene, A)
        show(scene, B)
        for one in scene.round(1.0):
            served[one.job_id.partition("-")[0]] += len(one.units)
            for work, node in zip(one.units, one.slice.nodes, strict=True):
                scene.rendered(one.job_id, plans[one.job_id], work, node=node)

    assert sum(served.values()) > 30
    assert abs(served["first"] - served["second"]) <= 4
