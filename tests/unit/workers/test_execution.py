import pytest

from app.domain.errors import ModelError, RenderCancelledError, StorageUnavailableError
from app.domain.work import Stage, Work
from app.jobs import JobLedger
from app.merging import read_runs
from app.schemas import WorkMessage, read_request
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan
from workers.execution import Executor, JobWatch

RENDER = plan(height=1024, width=1024)
WORK = Work(Stage.TILE, 0, index=3)
MESSAGE = WorkMessage(job_id="job", plan_hash=RENDER.hash, stage=Stage.TILE, image=0, index=3)


class FakeRenderer:
    """Counts what it is asked for, and fails when told to."""

    def __init__(self):
        self.rendered = []
        self.error = None
        self.during = lambda: None

    def render(self, plan, work, check):
        self.during()
        check()
        if self.error:
            raise self.error
        self.rendered.append(work)
        return b"pixels"


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def ledger(store):
    ledger = JobLedger(store)
    ledger.accept("job", read_request({"prompt": "a map"}), RENDER)
    return ledger


@pytest.fixture
def renderer():
    return FakeRenderer()


@pytest.fixture
def executor(store, ledger, renderer):
    return Executor(store, ledger, renderer, "cpu")


def test_a_unit_is_rendered_stored_and_recorded(executor, store):
    outcome = executor.execute(MESSAGE, "gpu1@host")

    assert outcome == {"key": WORK.key(RENDER), "status": "rendered"}
    assert store.get(WORK.key(RENDER)) == b"pixels"
    assert [(run.unit, run.worker) for run in read_runs(store, RENDER)] == [
        ("image-0000/phase-0/tile-00003", "gpu1-host")
    ]


def test_a_unit_whose_blob_exists_is_not_rendered_again(executor, renderer, store):
    executor.execute(MESSAGE, "gpu1@host")

    again = executor.execute(MESSAGE, "gpu2@host")

    assert again["status"] == "present"
    assert renderer.rendered == [WORK]
    assert len(read_runs(store, RENDER)) == 1


def test_a_failure_for_good_is_recorded_and_not_raised(executor, renderer, ledger):
    renderer.error = ModelError("model m: unet is missing")

    outcome = executor.execute(MESSAGE, "gpu1@host")

    assert outcome["status"] == "failed"
    assert ledger.failure("job") == "tile 3 of image 0: model m: unet is missing"


def test_a_transient_error_is_left_to_the_retry(executor, renderer, ledger):
    renderer.error = StorageUnavailableError("the store is full")

    with pytest.raises(StorageUnavailableError):
        executor.execute(MESSAGE, "gpu1@host")

    assert ledger.failure("job") is None


def test_other_tiles_of_a_failed_job_are_not_rendered(executor, renderer, ledger):
    ledger.fail("job", "tile 1 of image 0: broken")

    assert executor.execute(MESSAGE, "gpu1@host")["status"] == "abandoned"
    assert renderer.rendered == []


def test_a_job_cancelled_in_the_middle_of_a_tile_stores_nothing(executor, renderer, ledger, store):
    def cancel():
        ledger.cancel("job")
        executor._watch._alive = None

    renderer.during = cancel

    assert executor.execute(MESSAGE, "gpu1@host")["status"] == "abandoned"
    assert not store.exists(WORK.key(RENDER))


def test_the_store_is_asked_about_a_job_twice_a_second_at_most(ledger, monkeypatch):
    asked = []
    monkeypatch.setattr(ledger, "is_cancelled", lambda job_id: asked.append(job_id))
    clock = iter([0.0, 0.1, 0.4, 0.6])
    monkeypatch.setattr("workers.execution.time.monotonic", lambda: next(clock))
    watch = JobWatch(ledger)

    for _ in range(4):
        watch.check("job")

    assert asked == ["job", "job"]


def test_a_job_that_has_ended_is_refused_every_time(ledger):
    watch = JobWatch(ledger)
    ledger.cancel("job")

    for _ in range(2):
        with pytest.raises(RenderCancelledError):
            watch.check("job")
