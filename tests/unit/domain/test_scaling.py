import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.scaling import Scaler, ScalingRule

RULE = ScalingRule(minimum=1, maximum=8, target_s=30.0, cooldown_s=60.0)


@pytest.mark.parametrize(
    ("pending_s", "workers"),
    [(0.0, 1), (0.1, 1), (30.0, 1), (30.1, 2), (90.0, 3), (1e9, 8)],
    ids=["none", "little", "one", "more than one", "three", "very much"],
)
def test_each_worker_has_the_seconds_that_are_aimed_at(pending_s, workers):
    assert RULE.wanted(pending_s) == workers


def test_a_pool_may_shrink_to_nothing_and_any_work_brings_one_back():
    rule = ScalingRule(minimum=0, maximum=8, target_s=30.0, cooldown_s=60.0)

    assert rule.wanted(0.0) == 0
    assert rule.wanted(0.001) == 1


def test_more_work_is_answered_at_once():
    scaler = Scaler(RULE)
    scaler.settle(0.0, 0.0)

    assert scaler.settle(240.0, 1.0) == 8


def test_less_work_must_be_enough_for_the_whole_cooldown():
    scaler = Scaler(RULE)
    scaler.settle(240.0, 0.0)

    assert scaler.settle(0.0, 60.0) == 8
    assert scaler.settle(0.0, 60.1) == 1


def test_a_short_lull_drains_nobody():
    scaler = Scaler(RULE)

    kept = [scaler.settle(0.0 if second % 50 else 240.0, float(second)) for second in range(500)]

    assert set(kept) == {8}


def test_what_falls_step_by_step_is_followed_step_by_step():
    scaler = Scaler(RULE)
    for second, pending_s in enumerate([240.0, 120.0, 60.0, 0.0]):
        scaler.settle(pending_s, 20.0 * second)

    assert [scaler.settle(0.0, 60.0 + after) for after in (1.0, 21.0, 41.0)] == [4, 2, 1]


@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 400)), min_size=1, max_size=60),
    cooldown_s=st.floats(0, 100),
)
def test_it_keeps_the_most_that_was_wanted_during_the_cooldown(steps, cooldown_s):
    rule = ScalingRule(0, 10, 30.0, cooldown_s)
    scaler, now_s, seen = Scaler(rule), 0.0, []

    for passed_s, pending_s in steps:
        now_s += passed_s
        seen.append((now_s, rule.wanted(pending_s)))
        recent = [wanted for told_s, wanted in seen if told_s >= now_s - cooldown_s]

        assert scaler.settle(pending_s, now_s) == max(recent)
