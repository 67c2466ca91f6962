import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.prediction import DEFAULT_S, Estimate, Predictor
from tests.unit.domain.durations import TILE, lognormal, observations, shapes, taught


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
