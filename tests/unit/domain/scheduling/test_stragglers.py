from hypothesis import given
from hypothesis import strategies as st

from app.domain.scheduling.stragglers import Running, stragglers


def running(unit, elapsed_s):
    return Running(unit, elapsed_s)


def one_second(_run):
    return 1.0, 0.1


def test_a_unit_over_twice_its_prediction_is_a_straggler():
    runs = [running("slow", 2.1), running("on time", 1.9)]

    assert stragglers(runs, one_second, idle_workers=2) == ["slow"]


def test_a_prediction_that_scatters_widely_is_given_three_deviations():
    runs = [running("slow", 5.1), running("unlucky", 4.0)]

    assert stragglers(runs, lambda _run: (1.0, 4 / 3), idle_workers=2) == ["slow"]


def test_exactly_at_the_limit_is_no_straggler():
    assert stragglers([running("a", 2.0)], one_second, idle_workers=1) == []


def test_the_slowest_come_first_and_only_as_many_as_workers_idle():
    runs = [running("a", 3.0), running("b", 9.0), running("c", 5.0)]

    assert stragglers(runs, one_second, idle_workers=2) == ["b", "c"]


def test_slow_is_measured_by_each_units_own_prediction():
    seconds = {"large": 100.0, "small": 1.0}
    runs = [running("large", 250.0), running("small", 20.0)]

    found = stragglers(runs, lambda run: (seconds[run.unit], 0.0), idle_workers=2)

    assert found == ["small", "large"]


def test_while_every_worker_is_busy_nothing_is_run_twice():
    assert stragglers([running("slow", 100)], one_second, idle_workers=0) == []
    assert stragglers([running("slow", 100)], one_second, idle_workers=-1) == []


def test_a_unit_that_two_nodes_render_is_not_given_to_a_third():
    runs = [running("a", 100), running("a", 3), running("b", 3)]

    assert stragglers(runs, one_second, idle_workers=3) == ["b"]


runs = st.lists(
    st.builds(
        Running,
        unit=st.integers(0, 20),
        elapsed_s=st.floats(0, 100),
    )
)


@given(runs, st.floats(0, 10), st.floats(0, 10), st.integers(0, 5))
def test_no_unit_is_chosen_twice_nor_before_its_time(runs, mean_s, sigma_s, idle):
    found = stragglers(runs, lambda _run: (mean_s, sigma_s), idle)

    assert len(found) == len(set(found)) <= idle
    late = {run.unit for run in runs if run.elapsed_s > max(2 * mean_s, mean_s + 3 * sigma_s)}
    assert set(found) <= late


def test_a_slow_nodes_unit_is_run_again_at_once_where_that_ends_sooner():
    runs = [
        Running("slow", 0.5, expected_s=4.0),
        Running("soon", 1.9, expected_s=3.0),
    ]

    assert stragglers(runs, one_second, idle_workers=2) == ["slow"]


def test_the_unit_of_the_slowest_node_goes_first():
    runs = [
        Running("half", 0.1, expected_s=2.0),
        Running("quarter", 0.1, expected_s=4.0),
    ]

    assert stragglers(runs, one_second, idle_workers=1) == ["quarter"]
