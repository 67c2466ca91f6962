"""What becomes of a control task's failures."""

import time
from types import SimpleNamespace

import pytest
from celery.exceptions import Ignore, Reject
from prometheus_client import REGISTRY

from app.attempts import Attempts, Quarantine
from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import RenderFailedError, StorageFullError, StorageUnavailableError
from app.domain.work import Stage, Work, next_of_image, unit_name
from app.jobs import JobLedger, JobState, present_keys
from app.live.memory import MemoryBoard
from app.own_node import OwnNode
from app.patience import WorkerStoppingError
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from app.tasks.base import move_on, plan_job
from app.telemetry import serve
from tests.support.clock import HandClock
from tests.support.delivered import DeliveredTask
from tests.unit.domain.cards import plan

RENDER = plan(height=1024, width=1024)
REQUEST = read_request({"prompt": "a map"})
MERGE = Work(Stage.MERGE, 0)


class AwayStore(MemoryStore):
    """Does not answer the next so many questions, or none at all."""

    def __init__(self):
        super().__init__()
        self.away_for = 0
        self.error = StorageUnavailableError("store m does not answer")
        self.is_read_only = False

    def exists(self, key):
        if self.away_for:
            self.away_for -= 1
            raise self.error
        return super().exists(key)

    def put(self, key, data):
        if self.is_read_only:
            raise StorageUnavailableError("store m is full")
        return super().put(key, data)


@pytest.fixture
def store():
    return AwayStore()


@pytest.fixture
def app(store, monkeypatch):
    chosen = Settings(
        broker_url="amqp://localhost//", retry_base_s=0.001, retry_cap_s=0.002, max_retries=3
    )
    runtime = Runtime(chosen, store, JobLedger(store), Catalogue([]), MemoryBoard())
    monkeypatch.setattr("app.tasks.base.runtime", lambda: runtime)
    attempts = Attempts(store, runtime.board, 0.001, max_deaths=3, me="me")
    monkeypatch.setattr("app.tasks.again.own_attempts", lambda: attempts)
    runtime.ledger.accept("job", REQUEST, RENDER)
    return runtime


@pytest.fixture
def task():
    return DeliveredTask()


@pytest.fixture
def again():
    """A task whose message somebody had before."""
    return DeliveredTask(redelivered=True)


@pytest.fixture
def merging(app, store, monkeypatch):
    """All tiles are there; what *merging* does when it comes to merging them."""
    while (missing := next_of_image(RENDER, 0, present_keys(store, RENDER)))[0] != MERGE:
        for work in missing:
            store.put(work.key(RENDER), b"")
    steps = []
    merging = SimpleNamespace(steps=steps, during=lambda: None)

    def merge_phase(store, plan, image, phase):
        steps.append(phase)
        merging.during()
        raise StorageFullError("store m is full")

    monkeypatch.setattr("app.workflow.merge_phase", merge_phase)
    return merging


@pytest.fixture
def clock():
    return HandClock(0.0)


@pytest.fixture
def node(clock, monkeypatch):
    """This process's node."""
    node = OwnNode(clock)
    monkeypatch.setattr("app.tasks.again.own_node", lambda: node)
    return node


def died_of(store, scope, name, *workers):
    for worker in workers:
        store.put(f"attempts/{scope}/{name}/{worker}", b"")


@pytest.fixture
def living(app, monkeypatch):
    """Whenever somebody waits, this worker shows itself."""

    def wait(self, seconds, *_):
        app.board.show("nodes", "me@host", {"incarnation": "me"}, ttl_s=600)
        time.sleep(seconds)

    monkeypatch.setattr("app.patience.Patience.wait", wait)


def state(app):
    return app.ledger.status("job").state


def test_a_step_is_tried_again_until_the_store_answers(app, task, store):
    store.away_for = 3

    move_on(task, "job", None)

    assert state(app) is JobState.SUBMITTED
    (told,) = app.board.listen(0.0)
    assert told == {"kind": "job", "job_id": "job", "images": None, "done": []}


def test_a_job_fails_with_the_reason_when_the_retries_are_used_up(app, task, store):
    store.away_for, store.error = 4, StorageFullError("store m is full")

    with pytest.raises(StorageFullError, match=r"^store m is full$"):
        move_on(task, "job", None)

    assert app.ledger.failure("job") == "store m is full"
    assert app.board.listen(0.0) == [{"kind": "ended", "job_id": "job"}]


def test_an_outage_hands_the_message_back_and_fails_no_job(app, task, store):
    for _ in range(3):
        store.away_for = 4  # longer than one round of patience, and over when it is given up
        with pytest.raises(Ignore):
            move_on(task, "job", None)

    move_on(task, "job", None)

    assert len(task.sent) == 3
    assert app.ledger.failure("job") is None
    assert state(app) is JobState.SUBMITTED


def test_an_outage_while_the_end_is_told_hands_the_message_back(app, task, store, monkeypatch):
    monkeypatch.setattr("app.tasks.base.workflow.start", lambda *_: object())  # it is there already
    answers = iter([False] + [StorageUnavailableError("store m does not answer")] * 4)

    def settle(*_):
        if isinstance(answer := next(answers, True), Exception):
            raise answer
        return answer

    monkeypatch.setattr("app.tasks.base.settle", settle)

    with pytest.raises(Ignore):
        plan_job(task, "job", lambda: REQUEST)


def test_in_one_process_an_outage_ends_the_job(app, task, store, monkeypatch):
    monkeypatch.setattr(Settings, "is_embedded", True)
    store.away_for = 4

    with pytest.raises(StorageUnavailableError):
        move_on(task, "job", None)

    assert app.ledger.failure("job") == "store m does not answer"


def test_a_failure_that_cannot_be_recorded_gives_the_message_back(app, task, store):
    store.away_for, store.error = 4, StorageFullError("store m is full")
    store.is_read_only = True

    with pytest.raises(Ignore):
        move_on(task, "job", None)

    assert len(task.sent) == 1
    assert state(app) is JobState.SUBMITTED


def test_a_worker_that_stops_gives_the_message_back(app, task, store, monkeypatch):
    store.away_for = 1
    monkeypatch.setattr("celery.worker.state.should_stop", 0)

    with pytest.raises(Reject) as caught:
        move_on(task, "job", None)

    assert caught.value.requeue
    assert isinstance(caught.value.__cause__, WorkerStoppingError)
    assert app.ledger.failure("job") is None


def test_a_failure_for_good_is_not_tried_again(app, task, store):
    app.ledger.fail("job", "tile 3 of image 0: broken")

    with pytest.raises(RenderFailedError):
        move_on(task, "job", None)

    assert app.ledger.failure("job") == "tile 3 of image 0: broken"


def test_a_step_is_counted_alike_when_it_is_repeated_and_when_it_fails(app, task, store):
    def counts():
        labels = {"stage": "merge", "reason": "StorageUnavailableError"}
        names = ("tilechord_retries_total", "tilechord_failures_total")
        return [REGISTRY.get_sample_value(name, labels) or 0 for name in names]

    retries, failures = counts()
    store.away_for = 1

    move_on(task, "job", None)
    serve._count_failure(sender=task, exception=store.error)

    assert counts() == [retries + 1, failures + 1]


def test_a_withdrawn_job_is_not_planned(app, task):
    app.ledger.withdraw("job-2")

    assert plan_job(task, "job-2", lambda: REQUEST) is None
    assert not app.ledger.has_plan("job-2")


@pytest.mark.usefixtures("living")
def test_a_merge_that_killed_too_many_workers_ends_its_job(app, again, store, merging):
    died_of(store, RENDER.hash, unit_name(RENDER, MERGE), "a", "b", "c")

    with pytest.raises(RenderFailedError):
        move_on(again, "job", None)

    assert merging.steps == []
    assert app.ledger.failure("job") == ("merge 0 of image 0: quarantined, 3 workers died of it")
    assert [dead.label for dead in Quarantine(store).all()] == ["merge 0 of image 0"]


@pytest.mark.usefixtures("living")
def test_a_plan_that_killed_too_many_workers_ends_its_job(app, again, store):
    app.ledger.submit("job-2", REQUEST)
    died_of(store, "job-2", "plan", "a", "b", "c")

    with pytest.raises(RenderFailedError):
        plan_job(again, "job-2", lambda: REQUEST)

    assert app.ledger.failure("job-2") == "plan: quarantined, 3 workers died of it"
    assert not app.ledger.has_plan("job-2")


def test_who_takes_up_a_merge_again_leaves_its_record_meanwhile(app, again, store, merging):
    seen = []
    merging.during = lambda: seen.append(list(store.keys("attempts/")))

    with pytest.raises(StorageFullError):
        move_on(again, "job", None)

    assert seen[0] == [f"attempts/{RENDER.hash}/{unit_name(RENDER, MERGE)}/me"]
    assert list(store.keys("attempts/")) == []


def test_nothing_is_written_about_a_first_merge(task, store, merging):
    seen = []
    merging.during = lambda: seen.extend(store.keys("attempts/"))

    with pytest.raises(StorageFullError):
        move_on(task, "job", None)

    assert (merging.steps[0], seen) == (0, [])


@pytest.mark.parametrize("is_again", [False, True], ids=["first", "again"])
def test_the_time_of_a_merge_counts_and_not_that_between_two_attempts(
    node, clock, store, merging, monkeypatch, is_again
):
    seen = []

    def hang():
        clock.now_s += 7
        seen.append((node.running_s(), node.longest()["label"]))

    def wait(self, seconds, *_):
        clock.now_s += 100
        seen.append((node.running_s(), node.longest()))

    merging.during = hang
    monkeypatch.setattr("app.patience.Patience.wait", wait)

    with pytest.raises(StorageFullError):
        move_on(DeliveredTask(redelivered=is_again), "job", None)

    assert seen[:4] == [(7, "merge 0 of image 0"), (0, None)] * 2
    assert node.running_s() == 0


def test_the_time_of_a_plan_counts(app, node, task, monkeypatch):
    seen = []
    app.ledger.submit("job-2", REQUEST)
    monkeypatch.setattr("app.tasks.base.workflow.start", lambda *_: seen.append(node.longest()))

    plan_job(task, "job-2", lambda: REQUEST)

    assert [(step["job_id"], step["label"]) for step in seen] == [("job-2", "plan")]


def test_a_worker_that_is_drained_did_not_die(again, store, merging, monkeypatch):
    merging.during = lambda: monkeypatch.setattr("celery.worker.state.should_stop", 0)

    with pytest.raises(Reject) as caught:
        move_on(again, "job", None)

    assert caught.value.requeue
    assert merging.steps == [0]
    assert list(store.keys("attempts/")) == []
