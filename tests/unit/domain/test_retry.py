import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.retry import backoff_s

chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(0, 5000)


@given(attempts, st.floats(0.001, 100), st.floats(0.001, 1000), chances)
def test_no_wait_is_longer_than_the_cap_or_shorter_than_half_of_what_is_due(
    attempt, base_s, cap_s, u
):
    longest_s = backoff_s(attempt, base_s, cap_s, 1.0)

    assert longest_s <= cap_s
    assert longest_s / 2 <= backoff_s(attempt, base_s, cap_s, u) <= longest_s


@given(attempts, chances)
def test_waits_do_not_become_shorter(attempt, u):
    assert backoff_s(attempt + 1, 0.5, 60.0, u) >= backoff_s(attempt, 0.5, 60.0, u)


@pytest.mark.parametrize(
    ("attempt", "u", "seconds"),
    [(0, 0.0, 0.5), (0, 1.0, 1.0), (1, 1.0, 2.0), (3, 1.0, 8.0), (5, 1.0, 30.0), (9, 0.0, 15.0)],
    ids=["least", "first", "second", "fourth", "capped", "least of the cap"],
)
def test_waits_double_up_to_the_cap(attempt, u, seconds):
    assert backoff_s(attempt, 1.0, 30.0, u) == seconds


def test_those_who_failed_together_come_back_apart():
    waits = [backoff_s(2, 1.0, 30.0, u / 10) for u in range(10)]

    assert len(set(waits)) == 10
