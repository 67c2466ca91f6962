from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.scheduling.placement import Need, Node, Placer, Strategy, fits


def node(name, **facts):
    defaults = {
        "memory_gb": 24.0,
        "models": frozenset(),
        "weight": 1.0,
        "backlog_s": 0.0,
        "in_flight": 0,
        "is_ready": True,
    }
    return Node(name=name, **(defaults | facts))


def need(number=0, *, model="xl", memory_gb=8.0, seconds=1.0):
    return Need(model, memory_gb, seconds, f"unit-{number}")


def names(placer, needs, nodes, **options):
    """Where every unit goes while none is finished."""
    nodes, placed = {one.name: one for one in nodes}, []
    for one in needs:
        chosen = placer.place(one, list(nodes.values()), **options)
        placed.append(chosen.name if chosen else None)
        if chosen:
            nodes[chosen.name] = chosen.given(one)
    return placed


def spread(placer, count, nodes):
    """How many units each node gets while all are finished at once."""
    placed = [placer.place(need(number), nodes) for number in range(count)]
    return Counter(chosen.name for chosen in placed if chosen)


def test_least_load_gives_each_idle_node_one_unit_and_the_rest_waits():
    placed = names(Placer(Strategy.LEAST_LOADED), map(need, range(3)), [node("a"), node("b")])

    assert placed == ["a", "b", None]


def test_only_least_load_leaves_the_choice_to_the_workers():
    choosing = [strategy for strategy in Strategy if not strategy.names_node]

    assert choosing == [Strategy.LEAST_LOADED]


def test_resource_leaves_the_large_node_to_the_large_model():
    nodes = [node("large", memory_gb=80.0), node("small", memory_gb=10.0)]
    needs = [need(0, memory_gb=8.0), need(1, memory_gb=40.0), need(2, memory_gb=8.0)]

    assert names(Placer(Strategy.RESOURCE), needs, nodes) == ["small", "large", "small"]


def test_resource_takes_a_larger_node_when_the_small_one_is_full():
    nodes = [node("large", memory_gb=80.0), node("small", memory_gb=10.0, in_flight=2)]

    assert Placer(Strategy.RESOURCE).place(need(), nodes).name == "large"


def test_resource_chooses_the_least_loaded_of_nodes_with_the_same_memory():
    nodes = [node("a", backlog_s=3.0), node("b", backlog_s=0.5), node("c", memory_gb=None)]

    placed = names(Placer(Strategy.RESOURCE), map(need, range(2)), nodes, most_in_flight=9)

    assert placed == ["b", "b"]


def test_round_robin_takes_turns():
    nodes = [node("b"), node("a"), node("c")]

    placed = names(Placer(Strategy.ROUND_ROBIN), map(need, range(5)), nodes)

    assert placed == ["a", "b", "c", "a", "b"]


def test_round_robin_goes_on_after_a_node_has_left():
    placer = Placer(Strategy.ROUND_ROBIN)
    placer.place(need(), [node("a"), node("b"), node("c")])
    placer.place(need(), [node("a"), node("b"), node("c")])

    assert placer.place(need(), [node("a"), node("c")]).name == "c"


@given(st.integers(1, 8), st.integers(0, 50))
def test_round_robin_differs_by_at_most_one(count, units):
    nodes = [node(f"w{number}") for number in range(count)]

    placed = spread(Placer(Strategy.ROUND_ROBIN), units, nodes)

    shares = [placed[one.name] for one in nodes]
    assert max(shares) - min(shares) <= 1


def test_random_places_a_literal_run_always_alike():
    nodes = [node("a"), node("b"), node("c")]

    placed = names(Placer(Strategy.RANDOM), map(need, range(6)), nodes, most_in_flight=6)

    assert placed == ["c", "a", "c", "b", "c", "c"]


def test_random_spreads_evenly():
    nodes = [node(name) for name in "abcd"]

    placed = spread(Placer(Strategy.RANDOM), 2000, nodes)

    assert all(placed[name] == pytest.approx(500, rel=0.15) for name in "abcd")


def test_random_moves_only_the_units_of_a_node_that_left():
    nodes = [node(name) for name in "abcd"]

    for number in range(100):
        before = Placer(Strategy.RANDOM).place(need(number), nodes).name
        after = Placer(Strategy.RANDOM).place(need(number), nodes[1:]).name
        assert before in ("a", after)


def test_weighted_alternates_smoothly():
    nodes = [node("big", weight=2.0), node("small", weight=1.0)]

    placed = names(Placer(Strategy.WEIGHTED), map(need, range(6)), nodes, most_in_flight=9)

    assert placed == ["big", "small", "big"] * 2


@settings(max_examples=20)
@given(st.lists(st.floats(0.25, 4.0), min_size=1, max_size=6))
def test_weighted_shares_follow_weights(weights):
    nodes = [node(f"w{number}", weight=weight) for number, weight in enumerate(weights)]

    placed = spread(Placer(Strategy.WEIGHTED), 1000, nodes)

    for one in nodes:
        assert placed[one.name] == pytest.approx(1000 * one.weight / sum(weights), rel=0.1)


@given(st.lists(st.floats(0.1, 10.0), min_size=30, max_size=60))
def test_weighted_shares_count_seconds_not_units(seconds):
    nodes = [node("big", weight=3.0), node("small", weight=1.0)]
    placer, served = Placer(Strategy.WEIGHTED), Counter()

    for one in seconds:
        served[placer.place(need(seconds=one), nodes).name] += one

    assert abs(served["big"] - 0.75 * sum(seconds)) <= max(seconds)


def test_weighted_gives_a_node_of_weight_nought_nothing():
    placer = Placer(Strategy.WEIGHTED)

    assert placer.place(need(), [node("off", weight=0.0), node("on")]).name == "on"
    assert placer.place(need(), [node("off", weight=0.0)]) is None


def test_weighted_waits_for_the_node_whose_turn_it_is():
    placer = Placer(Strategy.WEIGHTED)
    big, small = node("big", weight=3.0), node("small", weight=1.0)

    assert placer.place(need(), [replace(big, in_flight=2), small]) is None
    assert placer.place(need(), [big, small]).name == "big"


def test_affinity_goes_to_a_node_that_has_the_model_though_it_has_work():
    nodes = [node("cold"), node("warm", models=frozenset({"xl"}), backlog_s=20.0, in_flight=1)]

    assert Placer(Strategy.AFFINITY, steal_after_s=30).place(need(), nodes).name == "warm"


def test_affinity_lets_an_idle_node_steal_beyond_the_bound():
    nodes = [node("cold"), node("warm", models=frozenset({"xl"}), backlog_s=31.0, in_flight=1)]

    assert Placer(Strategy.AFFINITY, steal_after_s=30).place(need(), nodes).name == "cold"


def test_affinity_lets_an_idle_node_steal_when_much_more_is_to_come():
    nodes = [node("cold"), node("warm", models=frozenset({"xl"}), backlog_s=2.0, in_flight=2)]
    placer = Placer(Strategy.AFFINITY, steal_after_s=30)

    assert placer.place(replace(need(), behind_s=29.0), nodes).name == "cold"
    assert placer.place(replace(need(), behind_s=27.0), nodes) is None


def test_affinity_shares_what_is_to_come_between_warm_nodes():
    warm = {"models": frozenset({"xl"}), "in_flight": 2}
    nodes = [node("cold"), node("w1", **warm), node("w2", **warm)]
    placer = Placer(Strategy.AFFINITY, steal_after_s=30)

    assert placer.place(replace(need(), behind_s=59.0), nodes) is None
    assert placer.place(replace(need(), behind_s=61.0), nodes).name == "cold"


def test_affinity_lets_no_busy_node_steal():
    nodes = [
        node("cold", backlog_s=1.0, in_flight=1),
        node("warm", models=frozenset({"xl"}), backlog_s=31.0, in_flight=1),
    ]

    assert Placer(Strategy.AFFINITY, steal_after_s=30).place(need(), nodes).name == "warm"


def test_affinity_waits_for_a_full_node_that_is_soon_done():
    nodes = [node("cold"), node("warm", models=frozenset({"xl"}), backlog_s=2.0, in_flight=2)]

    assert Placer(Strategy.AFFINITY, steal_after_s=30).place(need(), nodes) is None


def test_affinity_steals_from_a_full_node_that_is_not_soon_done():
    nodes = [node("cold"), node("warm", models=frozenset({"xl"}), backlog_s=60.0, in_flight=2)]

    assert Placer(Strategy.AFFINITY, steal_after_s=30).place(need(), nodes).name == "cold"


def test_affinity_chooses_the_least_loaded_of_several_warm_nodes():
    warm = frozenset({"xl"})
    nodes = [node("a", models=warm, backlog_s=9.0, in_flight=1), node("b", models=warm)]

    assert Placer(Strategy.AFFINITY).place(need(), nodes).name == "b"


def test_affinity_for_a_model_that_nobody_has_is_least_load():
    nodes = [node("a", backlog_s=2.0, in_flight=1), node("b", models=frozenset({"other"}))]

    assert Placer(Strategy.AFFINITY).place(need(), nodes).name == "b"


@pytest.mark.parametrize("strategy", Strategy)
def test_a_model_too_large_for_a_node_is_placed_on_one_that_has_the_memory(strategy):
    nodes = [node("a", memory_gb=12.0), node("b", memory_gb=24.0), node("c", memory_gb=8.0)]

    assert Placer(strategy).place(need(memory_gb=20.0), nodes).name == "b"


def test_a_node_that_does_not_know_its_memory_may_try():
    assert fits(node("a", memory_gb=None), need(memory_gb=1000.0))


nodes = st.lists(
    st.builds(
        node,
        st.sampled_from("abcdef"),
        memory_gb=st.none() | st.sampled_from([8.0, 24.0]),
        models=st.sampled_from([frozenset(), frozenset({"xl"})]),
        weight=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
        backlog_s=st.floats(0, 100),
        in_flight=st.integers(0, 3),
        is_ready=st.booleans(),
    ),
    unique_by=lambda one: one.name,
)


@given(st.sampled_from(Strategy), st.lists(nodes, min_size=1, max_size=4), st.integers(1, 3))
def test_no_unit_is_placed_on_a_node_that_is_unfit_unready_or_full(strategy, rounds, most):
    placer = Placer(strategy, steal_after_s=30)

    for number, able in enumerate(rounds):
        chosen = placer.place(need(number, memory_gb=16.0), able, most_in_flight=most)
        if chosen is not None:
            assert chosen in able
            assert chosen.is_ready
            assert fits(chosen, need(memory_gb=16.0))
            assert chosen.in_flight < most


@given(
    # Affinity waits for the model, weights for whoever's turn it is.
    st.sampled_from(sorted(set(Strategy) - {Strategy.AFFINITY, Strategy.WEIGHTED})),
    st.lists(st.sampled_from("abcdef"), min_size=1, unique=True),
)
def test_while_a_node_idles_nothing_waits(strategy, idle):
    busy = node("z", in_flight=2)

    assert Placer(strategy).place(need(), [busy, *map(node, idle)]) is not None


@given(st.sampled_from(Strategy), nodes, st.randoms(use_true_random=False))
def test_placement_does_not_depend_on_how_nodes_are_listed(strategy, able, random):
    shuffled = random.sample(able, len(able))

    assert Placer(strategy).place(need(), able) == Placer(strategy).place(need(), shuffled)
