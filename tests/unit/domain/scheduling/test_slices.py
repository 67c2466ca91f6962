from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.scheduling.slices import (
    UNITS_A_WORKER,
    batch_size,
    longest_first,
    room,
    units_within,
)

units = st.integers(0, 5000)
workers = st.integers(0, 100)
most = st.integers(1, 64)


@pytest.mark.parametrize(
    ("pending", "size"), [(1024, 32), (512, 16), (128, 4), (16, 1), (3, 1), (0, 0)]
)
def test_messages_shrink_with_what_is_left_for_eight_workers(pending, size):
    assert batch_size(pending, 8, 32) == size


@pytest.mark.parametrize(("pending", "size"), [(1000, 4), (128, 4), (63, 1), (1, 1), (0, 0)])
def test_messages_hold_one_unit_at_the_tail(pending, size):
    assert batch_size(pending, 8, 4) == size


@given(units, workers, most)
def test_a_message_is_at_most_its_guided_share(pending, workers, most):
    size = batch_size(pending, workers, most)

    assert size <= max(1, pending / (4 * max(1, workers)))
    assert size <= min(pending, most)


@given(st.integers(1, 5000), workers, most)
def test_as_long_as_something_is_pending_something_goes_out(pending, workers, most):
    assert batch_size(pending, workers, most) >= 1


@given(st.integers(1, 2000), workers, most)
def test_messages_never_grow_towards_the_tail(pending, workers, most):
    sizes = []
    while pending:
        sizes.append(batch_size(pending, workers, most))
        pending -= sizes[-1]

    assert all(later <= earlier for earlier, later in pairwise(sizes))


def test_a_limit_below_one_still_moves_work():
    assert batch_size(100, 1, 0) == 1


def test_the_longest_unit_goes_first_and_equals_keep_their_order():
    seconds = {"a": 1.0, "b": 4.0, "c": 1.0, "d": 4.0}

    assert longest_first("abcd", seconds.__getitem__) == ["b", "d", "a", "c"]


@given(st.lists(st.integers(0, 9)))
def test_longest_first_loses_nothing_and_is_stable(lengths):
    numbered = list(enumerate(lengths))

    ordered = longest_first(numbered, lambda unit: unit[1])

    assert sorted(ordered) == numbered
    assert all((-a[1], a[0]) < (-b[1], b[0]) for a, b in pairwise(ordered))


def test_a_queue_is_filled_to_its_lookahead():
    # 4 workers finish 8 units of half a second in each second.
    assert room(ready_units=10, unit_s=0.5, workers=4, lookahead_s=3) == 24 - 10


def test_long_units_still_lie_ready_for_every_worker():
    assert room(ready_units=1, unit_s=60, workers=4, lookahead_s=3) == UNITS_A_WORKER * 4 - 1


def test_a_queue_with_more_than_enough_gets_nothing():
    assert room(ready_units=100, unit_s=1, workers=4, lookahead_s=3) == 0


def test_a_pool_without_workers_is_filled_for_the_first():
    assert room(ready_units=0, unit_s=1, workers=0, lookahead_s=3) == 3


def test_units_predicted_to_take_no_time_do_not_ask_for_an_endless_queue():
    assert room(ready_units=0, unit_s=0, workers=1, lookahead_s=3) == 3000


positive = st.floats(0, 1e5)


def test_a_queue_that_is_half_full_is_left_alone_so_that_slices_do_not_crumble():
    assert room(ready_units=7, unit_s=1, workers=4, lookahead_s=3) == 0
    assert room(ready_units=6, unit_s=1, workers=4, lookahead_s=3) == 6


@given(units, positive, workers, positive)
def test_room_is_never_negative_and_never_leaves_a_worker_short(ready, unit_s, workers, ahead_s):
    more = room(ready, unit_s, workers, ahead_s)

    enough = ready + more if more else 2 * ready
    assert more >= 0
    assert enough >= UNITS_A_WORKER * workers
    assert enough * unit_s >= ahead_s * workers * (1 - 1e-9) or unit_s < 1e-3


@pytest.mark.parametrize(
    ("seconds", "unit_s", "units"),
    [(0.5, 0.1, 5), (0.5, 0.101, 5), (0.5, 0.4, 1), (0.5, 60.0, 0), (0.0, 0.1, 0), (60, 0.0, 64)],
)
def test_a_message_carries_so_many_units_as_take_its_seconds(seconds, unit_s, units):
    assert units_within(seconds, unit_s) == units
