import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.work import Outcome
from app.patience import WorkerStoppingError
from workers.storing import Storing


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_step_runs_while_its_caller_goes_on(threads):
    go_on = threading.Event()

    def step():
        assert go_on.wait(10)
        return Outcome.RENDERED

    with Storing(threads) as storing:
        assert storing.begin(step) is Outcome.RENDERED
        go_on.set()
        assert storing.wait() is Outcome.RENDERED


def test_the_next_step_waits_for_the_one_before(threads):
    done = []
    with Storing(threads) as storing:
        for number in range(4):
            storing.begin(lambda number=number: done.append(number) or Outcome.RENDERED)
            assert len(done) >= number

    assert done == [0, 1, 2, 3]


def test_while_python_ends_nothing_fails_for_good(threads):
    threads.shutdown()

    with Storing(threads) as storing, pytest.raises(WorkerStoppingError):
        storing.begin(lambda: Outcome.RENDERED)


def test_after_a_failure_no_step_begins(threads):
    done = []
    with Storing(threads) as storing:
        storing.begin(lambda: Outcome.FAILED)

        assert storing.begin(lambda: done.append(1) or Outcome.RENDERED) is Outcome.FAILED

    assert done == []


def test_what_a_step_raises_is_raised_where_it_is_waited_for(threads):
    def step():
        raise KeyError("lost")

    with Storing(threads) as storing:
        storing.begin(step)
        with pytest.raises(KeyError, match="lost"):
            storing.wait()


def test_on_the_way_out_with_an_error_the_step_ends_and_the_error_stays(threads):
    done = []

    def step():
        done.append(1)
        raise KeyError("lost")

    def leave():
        with Storing(threads) as storing:
            storing.begin(step)
            raise ValueError("the next one")

    with pytest.raises(ValueError, match="the next one"):
        leave()
    assert done == [1]


def test_without_a_step_there_is_nothing_to_wait_for(threads):
    assert Storing(threads).wait() is Outcome.RENDERED
