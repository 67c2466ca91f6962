"""The rules together, on simulated workers; the benchmark prints more of the same."""

import numpy as np
import pytest

from app.domain.prediction import Predictor, Shape
from tests.benchmarks.bench_placement import CASES, POLICIES, SPEEDS, Case, Simulation, ratios
from tests.unit.domain.durations import left_s

OURS = POLICIES[-1]
BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize(
    ("case", "most"),
    [("64 tiles", 1.10), ("256 tiles", 1.05), ("64, 10 % at 5x", 1.25), ("64 of 1,1,1,4", 1.10)],
)
def test_unequal_workers_finish_close_to_the_lower_bound(case, most):
    assert np.mean(ratios(OURS, BY_NAME[case], runs=25)) <= most


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_no_policy_beats_the_lower_bound_or_leaves_a_tile(policy):
    case = Case("small", (1.0, 2.0, 3.0) * 5, speeds=(1.0, 0.5))

    assert min(ratios(policy, case, runs=10)) >= 1.0


def test_reserving_ahead_costs_more_than_pulling_one_by_one():
    tiles = BY_NAME["64 tiles"]
    reserved, single = (ratios(policy, tiles, runs=10) for policy in POLICIES[1:3])

    assert np.mean(reserved) > 1.5 * np.mean(single)


@pytest.mark.parametrize("speeds", [SPEEDS, (1.0,) * 8, (2.0, 1.0)], ids=["mixed", "equal", "two"])
def test_after_a_first_job_the_next_ones_end_is_predicted_within_a_tenth(speeds):
    shape, predictor = Shape("atlas", "tile", 64.0, "cpu"), Predictor()
    first = Simulation(OURS, Case("first", (1.0,) * 32, speeds=speeds), seed=1)
    first.run()
    for seconds in first.taken_s:
        predictor.observe(shape, seconds)

    expected_s = left_s([(shape, 64)], predictor, {"cpu": len(speeds)})

    case = Case("next", (1.0,) * 64, speeds=speeds)
    spans = [Simulation(OURS, case, seed).run()[0] for seed in range(10)]
    assert expected_s == pytest.approx(np.mean(spans), rel=0.1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("case", ["64 tiles", "64, equal workers"])
def test_after_thirty_two_tiles_a_jobs_end_is_predicted_within_a_tenth(case, seed):
    shape, predictor = Shape("atlas", "tile", 64.0, "cpu"), Predictor()
    simulation = Simulation(OURS, BY_NAME[case], seed)
    end_s, _ = simulation.run()
    for seconds in simulation.taken_s[:32]:
        predictor.observe(shape, seconds)

    rest_s = left_s([(shape, 32)], predictor, {"cpu": 8})

    assert simulation.ended_s[31] + rest_s == pytest.approx(end_s, rel=0.1)
