from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.anchoring import base_share, holds_base
from app.domain.spec import Mode
from tests.unit.domain.cards import plan


@pytest.mark.parametrize(
    ("sigma", "share"),
    [(0.1, 0.0), (1.16, 0.0), (2.3, 0.28), (4.1, 0.62), (5.1, 0.74), (14.6, 1.0), (1e6, 1.0)],
)
def test_the_share_is_demofusions(sigma, share):
    assert base_share(sigma) == pytest.approx(share)


@given(st.lists(st.floats(0.01, 1e6), min_size=2).map(sorted))
def test_less_noise_never_holds_a_tile_more(sigmas):
    shares = [base_share(sigma) for sigma in sigmas]

    assert all(0.0 <= less <= more <= 1.0 for less, more in pairwise(shares))


def test_tiles_are_held_until_their_layout_is_decided():
    render = plan(mode=Mode.REFINE, nsr=6.0)

    starts = [phase.steps.sigmas[0] for phase in render.phases]
    held = [holds_base(render, phase) for phase in range(len(starts))]

    assert held == [start > 1.16 for start in starts]
    assert {True, False} == set(held)


@pytest.mark.parametrize(
    "order",
    [
        {"mode": Mode.PHASED},
        {"mode": Mode.SPOT},
        {"nsr": 1.1},
        {"nsr": 6.0, "init_image": "inputs/a"},
    ],
    ids=["phased", "spot", "little noise", "a given picture"],
)
def test_nothing_is_held_that_has_no_base_or_keeps_it_anyway(order):
    render = plan(**order)

    assert not any(holds_base(render, phase) for phase in range(len(render.phases)))
