import pytest

from app.domain.errors import ModelError, RenderCancelledError, StorageUnavailableError
from app.patience import Patience, WorkerStoppingError, is_worker_stopping


class Step:
    """Fails a given number of times."""

    def __init__(self, failures, error=None):
        self.failures = failures
        self.error = error or StorageUnavailableError("store m does not answer")
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "stored"


@pytest.fixture
def slept():
    return []


@pytest.fixture
def patience(slept):
    return Patience(
        3, base_s=1.0, cap_s=3.0, chance=lambda: 1.0, sleep=slept.append, is_stopping=lambda: False
    )


def test_a_step_is_tried_until_it_succeeds(patience):
    step = Step(failures=3)

    assert patience.attempt(step) == "stored"
    assert step.calls == 4


def test_the_last_failure_is_raised_when_the_retries_are_used_up(patience, slept):
    step = Step(failures=9)

    with pytest.raises(StorageUnavailableError, match=r"^store m does not answer$"):
        patience.attempt(step)

    assert step.calls == 4
    assert sum(slept) == pytest.approx(1 + 2 + 3)


def test_a_pause_is_as_long_as_the_next_wait_would_be(patience, slept):
    patience.pause()

    assert sum(slept) == pytest.approx(3)


def test_without_retries_there_is_a_pause_all_the_same(slept):
    Patience(0, 1.0, 3.0, sleep=slept.append, is_stopping=lambda: False).pause()

    assert 0.5 <= sum(slept) <= 1


def test_what_no_retry_can_help_is_raised_at_once(patience, slept):
    step = Step(failures=9, error=ModelError("model m: unet is missing"))

    with pytest.raises(ModelError):
        patience.attempt(step)

    assert (step.calls, slept) == (1, [])


def test_what_is_final_is_raised_at_once(patience, slept):
    step = Step(failures=9)

    with pytest.raises(StorageUnavailableError):
        patience.attempt(step, is_final=lambda error: error is step.error)

    assert (step.calls, slept) == (1, [])


def test_every_failure_that_another_attempt_follows_is_noted(patience):
    noted = []

    with pytest.raises(StorageUnavailableError):
        patience.attempt(Step(failures=9), note=noted.append)

    assert len(noted) == 3


def test_a_cancelled_job_ends_the_wait_at_once(patience, slept):
    def check():
        if len(slept) == 2:
            raise RenderCancelledError("job j was cancelled")

    with pytest.raises(RenderCancelledError):
        patience.attempt(Step(failures=9), check=check)

    assert sum(slept) == pytest.approx(0.2)


def test_a_check_that_cannot_be_made_now_does_not_end_the_wait(patience):
    def check():
        raise StorageUnavailableError("store m does not answer")

    assert patience.attempt(Step(failures=1), check=check) == "stored"


def test_a_stopping_worker_waits_no_longer(slept):
    patience = Patience(
        3, 60.0, 60.0, sleep=slept.append, is_stopping=lambda: bool(slept), chance=lambda: 1.0
    )

    with pytest.raises(WorkerStoppingError):
        patience.attempt(Step(failures=9))

    assert sum(slept) <= 0.1


def test_a_worker_that_may_not_retry_tries_once(slept):
    step = Step(failures=1)

    with pytest.raises(StorageUnavailableError):
        Patience(0, 1.0, 1.0, sleep=slept.append).attempt(step)

    assert slept == []


@pytest.mark.parametrize(
    ("mark", "stops"), [(None, False), (False, False), (0, True), (True, True)], ids=str
)
def test_a_worker_stops_when_celery_has_an_exit_code_for_it(mark, stops, monkeypatch):
    monkeypatch.setattr("celery.worker.state.should_stop", mark)

    assert is_worker_stopping() is stops
