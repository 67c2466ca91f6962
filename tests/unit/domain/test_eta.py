"""When units are done, by their seconds and by who does them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.eta import eta_s
from app.domain.prediction import Predictor, Shape
from tests.unit.domain.durations import TILE, left_s, lognormal, observations, shapes, taught


def steady(*seconds):
    """Workers that take just so long for whatever it is."""
    return lambda shape: np.array([(one_s, 0.0) for one_s in seconds])


@pytest.mark.parametrize(
    ("count", "workers", "expected_s"),
    [(8, 8, 2.0), (9, 8, 4.0), (64, 8, 16.0), (1, 8, 2.0), (10_000, 10, 2000.0)],
)
def test_equal_workers_take_whole_turns(count, workers, expected_s):
    predictor = taught((TILE, 2.0))

    assert left_s([(TILE, count)], predictor, {"cpu": workers}) == pytest.approx(expected_s)


def test_a_faster_device_does_more():
    predictor = taught((TILE, 4.0), (replace(TILE, device="cuda"), 1.0))

    assert left_s([(TILE, 50)], predictor, {"cpu": 1, "cuda": 1}) == pytest.approx(40.0, rel=0.02)


def test_stages_wait_for_each_other_and_shapes_of_one_stage_do_not():
    core, edge = Shape("atlas", "core", 10.0, "cpu"), Shape("atlas", "core", 9.0, "cpu")
    predictor = taught((TILE, 2.0), (core, 1.0), (edge, 1.0))

    assert left_s([(TILE, 1), (core, 1), (edge, 1)], predictor, {"cpu": 2}) == pytest.approx(3.0)


def test_work_that_is_served_before_is_added():
    predictor = taught((TILE, 2.0))

    assert left_s([(TILE, 4)], predictor, {"cpu": 4}, ahead_s=40.0) == pytest.approx(12.0)


def test_without_a_worker_there_is_no_end_in_sight():
    assert left_s([(TILE, 1)], Predictor(), {"cpu": 0}) == math.inf


def test_nothing_left_takes_no_time_even_without_workers():
    assert left_s([(TILE, 0)], Predictor(), {}) == 0


@given(
    st.lists(st.tuples(shapes, st.integers(0, 500)), max_size=4),
    observations,
    st.dictionaries(st.sampled_from(["cpu", "cuda"]), st.integers(1, 20), min_size=1),
)
def test_a_worker_more_puts_off_the_end_by_no_more_than_a_units_scatter(pending, pairs, workers):
    predictor = taught(*pairs)
    device = min(workers)
    estimates = [predictor.predict(replace(s, device=d)) for s, _ in pending for d in workers]
    longest_s = max((estimate.mean_s for estimate in estimates), default=0.0)

    fewer = left_s(pending, predictor, workers)
    more = left_s(pending, predictor, workers | {device: workers[device] + 1})

    assert 0 <= more <= fewer + 2 * longest_s * len(pending) * (1 + 1e-9)


def test_scatter_puts_off_the_end_by_no_more_than_one_unit():
    steady, scattered = taught(*[(TILE, 2.0)] * 8), taught(*[(TILE, 1.0), (TILE, 4.0)] * 4)
    mean_s, sigma = scattered.predict(TILE)

    assert left_s([(TILE, 8)], steady, {"cpu": 8}) == pytest.approx(2.0)
    assert mean_s + sigma < left_s([(TILE, 8)], scattered, {"cpu": 8}) <= 2 * mean_s


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_after_thirty_two_tiles_the_end_is_predicted_within_a_tenth(spread, seed):
    predictor = taught(*((TILE, one) for one in lognormal(1.5, spread, 32, seed)))
    ends = np.zeros(4)
    for one in lognormal(1.5, spread, 200, seed + 100):
        ends[np.argmin(ends)] += one

    assert left_s([(TILE, 200)], predictor, {"cpu": 4}) == pytest.approx(ends.max(), rel=0.1)


def test_who_is_busy_begins_later():
    assert eta_s([(TILE, 5)], [3.0, 0.0], steady(1.0, 1.0)) == pytest.approx(4.0)


def test_who_is_busy_for_longer_than_the_others_need_takes_none():
    assert eta_s([(TILE, 1000)], [250.0, 0.0], steady(1.0, 1.0)) == pytest.approx(625.0)
    assert eta_s([(TILE, 10)], [250.0, 0.0], steady(1.0, 1.0)) == pytest.approx(250.0)


def test_what_workers_have_is_waited_for_where_nothing_else_is_left():
    busy_s = [0.5, 3.0]

    assert eta_s([(TILE, 0)], busy_s, steady(1.0, 4.0)) == eta_s([], busy_s, steady()) == 3.0


def test_a_later_stage_waits_for_what_workers_have():
    core = Shape("atlas", "core", 10.0, "cpu")

    assert eta_s([(TILE, 0), (core, 1)], [0.0, 3.0], steady(1.0, 4.0)) == pytest.approx(4.0)


def test_each_worker_goes_at_its_own_pace():
    workers = steady(1.0, 1.0, 4.0)

    assert eta_s([(TILE, 9)], [0.0] * 3, workers) == pytest.approx(4.0)
    assert eta_s([(TILE, 900)], [0.0] * 3, workers) == pytest.approx(400.0)


def test_a_unit_goes_where_it_ends_soonest_even_if_that_worker_is_busy():
    assert eta_s([(TILE, 1)], [1.0, 0.0], steady(1.0, 9.0)) == pytest.approx(2.0)


def test_short_units_fill_up_what_long_ones_leave():
    short = replace(TILE, area=25.0)

    def times(shape):
        return np.array([(shape.area / 25, 0.0)] * 2)  # 4 and 1 s

    assert eta_s([(short, 4), (TILE, 3)], [0.0, 0.0], times) == pytest.approx(8.0)


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 300)), min_size=1, max_size=9),
    st.integers(1, 60),
)
def test_the_end_is_that_of_giving_each_unit_where_it_ends_soonest(workers, count):
    free_s = [busy_s for _, busy_s in workers]
    for _ in range(count):
        ends_s = [at + each for at, (each, _) in zip(free_s, workers, strict=True)]
        place = int(np.argmin(ends_s))
        free_s[place] = ends_s[place]

    found_s = eta_s(
        [(TILE, count)], [busy for _, busy in workers], steady(*(s for s, _ in workers))
    )

    assert found_s == pytest.approx(max(free_s), rel=1e-4)


def test_what_a_slow_worker_has_is_run_again_by_a_quick_one():
    means_s = [1.0] * 7 + [4.0]

    def scattered(shape):
        return np.array([(mean_s, mean_s) for mean_s in means_s])

    steady_s = eta_s([(TILE, 58)], [0.0] * 8, steady(*means_s))

    assert eta_s([(TILE, 58)], [0.0] * 8, scattered) == pytest.approx(steady_s + 1.0)
