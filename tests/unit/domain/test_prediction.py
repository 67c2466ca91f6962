import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prediction import DEFAULT_S, Estimate, Predictor, Shape, eta_s

TILE = Shape("atlas", "tile", 100.0, "cpu")

shapes = st.builds(
    Shape,
    model=st.sampled_from(["atlas", "xl"]),
    stage=st.sampled_from(["tile", "core"]),
    area=st.floats(0.1, 1e9) | st.integers(1, 10**9),
    device=st.sampled_from(["cpu", "cuda", ""]),
)
seconds = st.floats(1e-3, 1e5)
observations = st.lists(st.tuples(shapes, seconds), max_size=15)


def taught(*pairs, most_shapes=1000):
    predictor = Predictor(most_shapes)
    for shape, took_s in pairs:
        predictor.observe(shape, took_s)
    return predictor


def lognormal(median_s, spread, count, seed=0):
    return [
        float(s) for s in np.random.default_rng(seed).lognormal(math.log(median_s), spread, count)
    ]


def test_one_duration_is_the_first_prediction():
    mean_s, sigma = taught((TILE, 3.0)).predict(TILE)

    assert mean_s == pytest.approx(3.0)
    assert sigma == 0


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.3])
def test_mean_and_deviation_are_learned(spread):
    samples = lognormal(2.0, spread, 2000)

    mean_s, sigma = taught(*((TILE, one) for one in samples)).predict(TILE)

    assert mean_s == pytest.approx(np.mean(samples), rel=0.1)
    assert sigma == pytest.approx(np.std(samples), rel=0.4)


def test_a_device_that_became_slower_is_noticed_within_a_job():
    predictor = taught(*[(TILE, 1.0)] * 500, *[(TILE, 2.0)] * 128)

    assert predictor.predict(TILE).mean_s == pytest.approx(2.0, rel=0.05)


def test_a_few_wild_durations_do_not_make_a_mean_of_days():
    predictor = taught(*[(TILE, 1.0)] * 20, (TILE, 1e8), (TILE, 1e8))

    assert predictor.predict(TILE).mean_s < 100


def test_an_unseen_area_is_scaled_from_the_nearest_of_the_same_device():
    predictor = taught(
        (replace(TILE, area=10), 1.0),
        (replace(TILE, area=1000), 50.0),
        (replace(TILE, area=400, device="cuda"), 0.1),
    )

    assert predictor.predict(replace(TILE, area=500)).mean_s == pytest.approx(25.0)


def test_an_unseen_device_is_taken_for_another_one():
    predictor = taught((TILE, 4.0), (replace(TILE, area=50, device="cuda"), 0.5))

    assert predictor.predict(replace(TILE, device="rocm", area=200)).mean_s == pytest.approx(8.0)


def test_of_several_other_devices_the_one_that_did_most_decides():
    predictor = taught((TILE, 4.0), *[(replace(TILE, device="cuda"), 0.5)] * 9)

    assert predictor.predict(replace(TILE, device="")).mean_s == pytest.approx(0.5)


@pytest.mark.parametrize("other", [{"model": "xl"}, {"stage": "core"}], ids=["model", "stage"])
def test_another_model_or_stage_says_nothing_and_the_guess_is_taken(other):
    predictor = taught((TILE, 4.0))

    assert predictor.predict(replace(TILE, **other), guess_s=7.0).mean_s == 7.0
    assert predictor.predict(replace(TILE, **other)).mean_s == DEFAULT_S


def test_a_guess_is_said_to_be_uncertain():
    assert Predictor().predict(TILE, guess_s=8.0) == Estimate(8.0, 4.0)


@pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan, math.inf, 1e300])
def test_durations_that_no_unit_can_take_are_left_aside(nonsense):
    assert taught((TILE, nonsense)).shapes == ()


@pytest.mark.parametrize("area", [0, -1.0, math.nan, math.inf])
def test_a_shape_without_area_is_not_learned_and_still_predicted(area):
    predictor = taught((TILE, 1.0), (replace(TILE, area=area), 1.0))

    assert predictor.shapes == (TILE,)
    assert math.isfinite(predictor.predict(replace(TILE, area=area)).mean_s)


def test_the_shapes_seen_last_are_kept():
    first, second, third = (replace(TILE, area=area) for area in (1, 2, 3))

    predictor = taught((first, 1.0), (second, 1.0), (first, 1.0), (third, 1.0), most_shapes=2)

    assert predictor.shapes == (first, third)


def test_a_forgotten_shape_is_no_longer_scaled_from():
    other = replace(TILE, model="xl")

    predictor = taught((TILE, 5.0), (other, 1.0), most_shapes=1)

    assert predictor.predict(TILE, guess_s=2.0).mean_s == 2.0


@given(observations, shapes)
def test_what_was_learned_survives_as_json(pairs, asked):
    predictor = taught(*pairs)

    read = Predictor.from_record(json.loads(json.dumps(predictor.to_record(), allow_nan=False)))

    assert read.shapes == predictor.shapes
    assert read.predict(asked) == predictor.predict(asked)


@given(observations, shapes, st.integers(1, 5))
def test_predictions_are_finite_and_the_memory_is_bounded(pairs, asked, most):
    predictor = taught(*pairs, most_shapes=most)

    mean_s, sigma = predictor.predict(asked)

    assert 0 < mean_s < math.inf
    assert 0 <= sigma < math.inf
    assert len(predictor.shapes) <= most


scalars = st.sampled_from([None, True, "", "atlas", -1, 0, 3, 10**400, 0.5, math.nan, math.inf])
values = scalars | st.lists(scalars, max_size=3)
rows = st.tuples(st.just("atlas"), st.just("tile"), values, st.just("cpu"), *[values] * 3).map(list)
records = st.builds(lambda found: {"version": 1, "shapes": found}, st.lists(rows | values))


@given(values | records | st.just({}) | st.just({"version": 1, "shapes": 7}))
def test_a_record_that_makes_no_sense_teaches_nothing_wrong(record):
    predictor = Predictor.from_record(record)

    assert math.isfinite(predictor.predict(TILE).mean_s)
    predictor.observe(TILE, 1.0)
    json.dumps(predictor.to_record(), allow_nan=False)


def test_a_damaged_row_does_not_spoil_the_others():
    record = taught((TILE, 3.0)).to_record()
    record["shapes"] = [["xl", "tile", "large", "cpu", 0, 0, 1], *record["shapes"], None]

    assert Predictor.from_record(record).shapes == (TILE,)


@pytest.mark.parametrize(
    "numbers",
    [
        [100.0, 1e9, 0.0, 1],
        [100.0, math.nan, 0.0, 1],
        [100.0, 0.0, -1.0, 1],
        [100.0, 0.0, math.inf, 1],
        [100.0, 0.0, 0.0, 0],
        [10**400, 0.0, 0.0, 1],
        [0.0, 0.0, 0.0, 1],
    ],
    ids=["mean", "not a number", "variance", "endless", "never seen", "too large", "no area"],
)
def test_rows_with_numbers_that_cannot_be_are_left_out(numbers):
    area, *moments = numbers
    row = ["atlas", "tile", area, "cpu", *moments]

    assert Predictor.from_record({"version": 1, "shapes": [row]}).shapes == ()


def test_a_record_of_another_version_is_not_read():
    assert Predictor.from_record(taught((TILE, 3.0)).to_record() | {"version": 2}).shapes == ()


@pytest.mark.parametrize(
    ("count", "workers", "expected_s"),
    [(8, 8, 2.0), (9, 8, 4.0), (64, 8, 16.0), (1, 8, 2.0), (10_000, 10, 2000.0)],
)
def test_equal_workers_take_whole_turns(count, workers, expected_s):
    predictor = taught((TILE, 2.0))

    assert eta_s([(TILE, count)], predictor, {"cpu": workers}) == pytest.approx(expected_s)


def test_a_faster_device_does_more():
    predictor = taught((TILE, 4.0), (replace(TILE, device="cuda"), 1.0))

    assert eta_s([(TILE, 50)], predictor, {"cpu": 1, "cuda": 1}) == pytest.approx(40.0, rel=0.02)


def test_stages_wait_for_each_other_and_shapes_of_one_stage_do_not():
    core, edge = Shape("atlas", "core", 10.0, "cpu"), Shape("atlas", "core", 9.0, "cpu")
    predictor = taught((TILE, 2.0), (core, 1.0), (edge, 1.0))

    assert eta_s([(TILE, 1), (core, 1), (edge, 1)], predictor, {"cpu": 2}) == pytest.approx(3.0)


def test_work_that_is_served_before_is_added():
    predictor = taught((TILE, 2.0))

    assert eta_s([(TILE, 4)], predictor, {"cpu": 4}, ahead_s=40.0) == pytest.approx(12.0)


def test_without_a_worker_there_is_no_end_in_sight():
    assert eta_s([(TILE, 1)], Predictor(), {"cpu": 0}) == math.inf


def test_nothing_left_takes_no_time_even_without_workers():
    assert eta_s([(TILE, 0)], Predictor(), {}) == 0


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

    fewer = eta_s(pending, predictor, workers)
    more = eta_s(pending, predictor, workers | {device: workers[device] + 1})

    assert 0 <= more <= fewer + 2 * longest_s * len(pending) * (1 + 1e-9)


def test_scatter_puts_off_the_end_by_no_more_than_one_unit():
    steady, scattered = taught(*[(TILE, 2.0)] * 8), taught(*[(TILE, 1.0), (TILE, 4.0)] * 4)
    mean_s, sigma = scattered.predict(TILE)

    assert eta_s([(TILE, 8)], steady, {"cpu": 8}) == pytest.approx(2.0)
    assert mean_s + sigma < eta_s([(TILE, 8)], scattered, {"cpu": 8}) <= 2 * mean_s


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("spread", [0.05, 0.1, 0.2])
def test_after_thirty_two_tiles_the_end_is_predicted_within_a_tenth(spread, seed):
    predictor = taught(*((TILE, one) for one in lognormal(1.5, spread, 32, seed)))
    ends = np.zeros(4)
    for one in lognormal(1.5, spread, 200, seed + 100):
        ends[np.argmin(ends)] += one

    assert eta_s([(TILE, 200)], predictor, {"cpu": 4}) == pytest.approx(ends.max(), rel=0.1)
