import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.guard import Limits, Load, overload

LIMITS = Limits(gpu_memory=0.9, cpu=0.5, margin=0.1)
FRACTIONS = st.floats(0, 1)


def test_a_node_below_its_limits_takes_work():
    assert overload(Load(gpu_memory=0.9, cpu=0.5), LIMITS, is_paused=False) == ""


def test_a_node_above_a_limit_tells_which_and_by_how_much():
    reason = overload(Load(gpu_memory=0.97, cpu=0.1), LIMITS, is_paused=False)

    assert reason == "GPU memory 97% in use by others, limit 90%"


def test_all_limits_that_are_passed_are_told():
    reason = overload(Load(gpu_memory=0.97, cpu=0.6), LIMITS, is_paused=False)

    assert reason == (
        "GPU memory 97% in use by others, limit 90%, CPU 60% in use by others, limit 50%"
    )


@pytest.mark.parametrize(
    ("used", "is_over"), [(0.85, True), (0.81, True), (0.8, False), (0.2, False)]
)
def test_a_paused_node_goes_on_only_below_its_limit_less_the_margin(used, is_over):
    assert bool(overload(Load(gpu_memory=used), LIMITS, is_paused=True)) == is_over
    assert not overload(Load(gpu_memory=used), LIMITS, is_paused=False)


def test_what_cannot_be_measured_pauses_nobody():
    assert overload(Load(), LIMITS, is_paused=True) == ""


def test_what_has_no_limit_pauses_nobody():
    limits = Limits(gpu_memory=None, cpu=None, margin=0.1)

    assert overload(Load(gpu_memory=1.0, cpu=1.0), limits, is_paused=False) == ""


@given(limit=FRACTIONS, margin=st.floats(0.01, 0.5), base=FRACTIONS, noise=st.data())
def test_a_load_that_varies_by_less_than_the_margin_pauses_at_most_once(limit, margin, base, noise):
    limits = Limits(gpu_memory=limit, cpu=None, margin=margin)
    is_paused, changes = False, 0

    for _ in range(20):
        used = base + noise.draw(st.floats(0, margin * 0.99))
        now = bool(overload(Load(gpu_memory=used), limits, is_paused=is_paused))
        changes += now != is_paused
        is_paused = now

    assert changes <= 1


@given(gpu_memory=FRACTIONS, cpu=FRACTIONS)
def test_whoever_may_go_on_when_paused_may_also_take_work(gpu_memory, cpu):
    load = Load(gpu_memory, cpu)

    if not overload(load, LIMITS, is_paused=True):
        assert not overload(load, LIMITS, is_paused=False)
