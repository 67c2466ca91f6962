import pytest

from app.domain.errors import RenderCancelledError, StorageUnavailableError
from app.domain.work import Stage
from app.jobs import JobLedger
from app.patience import Patience
from app.schemas import WorkMessage, read_request
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan
from workers.errand import Delivery, Errand
from workers.watch import JobWatch

MESSAGE = WorkMessage(job_id="job", plan_hash="0" * 64, stage=Stage.TILE, image=0)


@pytest.fixture
def ledger():
    ledger = JobLedger(MemoryStore())
    ledger.accept("job", read_request({"prompt": "a map"}), plan())
    return ledger


@pytest.fixture
def slept():
    return []


@pytest.fixture
def errand(ledger, slept):
    patience = Patience(2, 1.0, 8.0, is_stopping=lambda: False, sleep=slept.append)
    return Errand(MESSAGE, Delivery("gpu1@host"), patience, JobWatch(ledger))


def failing(times):
    """A step that fails for now so many times."""
    left = [StorageUnavailableError("store m does not answer")] * times

    def step():
        if left:
            raise left.pop()
        return "done"

    return step


def test_a_step_is_tried_again(errand, slept):
    assert errand.attempt(failing(2)) == "done"
    assert slept


def test_a_step_is_tried_no_more_often_than_patience_lasts(errand):
    with pytest.raises(StorageUnavailableError):
        errand.attempt(failing(3))


def test_a_step_that_no_attempt_would_help_is_tried_once(errand, slept):
    with pytest.raises(StorageUnavailableError):
        errand.attempt(failing(1), is_final=lambda error: True)
    assert slept == []


def test_nothing_is_tried_again_for_a_job_that_has_ended(errand, ledger):
    ledger.cancel("job")

    with pytest.raises(RenderCancelledError, match="job was cancelled"):
        errand.attempt(failing(1))


def test_waiting_ends_with_the_job(errand, ledger, slept):
    ledger.cancel("job")

    with pytest.raises(RenderCancelledError):
        errand.wait(60.0)
    assert slept == []
