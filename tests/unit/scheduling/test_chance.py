"""How often ends are predicted within a tenth, on simulated workers that learned from earlier jobs;
the benchmark prints more of the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.bench_eta import CASES, PREDICTED_AFTER, best_share, chance, halfway, share

SOUND = [case for case in CASES if not case.slow]
SLOW = [case for case in CASES if case.slow]


def name(case):
    return case.name


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("case", SOUND, ids=name)
def test_an_end_is_predicted_within_a_tenth(case, seed):
    assert chance(case, seed, ends=10).ours == 1.0


@pytest.mark.parametrize("case", SLOW, ids=name)
def test_with_slow_runs_the_median_end_and_most_others_are_predicted_within_a_tenth(case):
    found = [chance(case, seed, ends=30) for seed in range(12)]

    ours, best, error = np.mean(found, axis=0)
    assert 0.5 < ours < best < 0.9
    assert abs(error) < 0.04


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_job_is_played_again_from_where_it_stands(case):
    job = halfway(case, seed=1)
    before, eta_s, over = list(job.ended_s), job.eta_s, len(job.ended_s)
    plays = [job.played_again(number) for number in (1, 2)]

    for play in plays:
        play.run()
        assert play.ended_s[:over] == before
        assert min(play.ended_s[over:]) > job.now_s
    assert over >= PREDICTED_AFTER
    assert plays[0].ended_s[over] != plays[1].ended_s[over]  # also what runs already
    assert (job.ended_s, job.eta_s) == (before, eta_s)


seconds = st.floats(1.0, 3.0)


@given(st.lists(seconds, min_size=1, max_size=20).map(np.array), seconds)
def test_no_number_is_near_more_ends_than_the_best(ends_s, predicted_s):
    assert share(ends_s, predicted_s) <= best_share(ends_s)


def test_the_best_of_ends_further_apart_is_near_half_of_them():
    assert best_share(np.array([1.0, 1.2, 2.0, 2.4])) == 0.5
