"""What a task makes of how its units ended."""

from types import SimpleNamespace

import pytest
from celery.exceptions import Ignore, Reject

from app.ahead import own_ahead
from app.domain.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    StorageUnavailableError,
)
from app.jobs import JobLedger
from app.own_node import OwnNode
from app.patience import WorkerStoppingError
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.delivered import DeliveredTask
from workers import tasks
from workers.errand import BusyError, Delivery

PAYLOAD = {"job_id": "job", "plan_hash": "p", "stage": "tile", "image": 0, "index": 3}


class FakeExecutor:
    """Ends every message as told."""

    def __init__(self):
        self.status = "rendered"
        self.error = None
        self.deliveries = []
        self.failed = []
        self.fail_error = None

    def execute(self, message, delivery):
        self.deliveries.append(delivery)
        if self.error:
            raise self.error
        return {"key": "k", "status": self.status}

    def fail(self, message, error):
        if self.fail_error:
            raise self.fail_error
        self.failed.append(str(error))


class FakeTask:
    """As much of a Celery task as a doorbell uses."""

    def __init__(self):
        self.request = SimpleNamespace(
            id="t-1",
            hostname="gpu1@host",
            kwargs={"message": PAYLOAD},
            delivery_info={
                "routing_key": "gpu.tile.atlas",
                "priority": 5,
                "redelivered": False,
            },
        )
        self.backend = self
        self.counted = []
        self.sent = []
        self.send_error = None

    def mark_as_done(self, task_id, result, request):
        self.counted.append((task_id, result["status"]))

    def signature(self, kwargs, immutable):
        return SimpleNamespace(set=lambda **options: (kwargs, options))

    def replace(self, signature):
        if self.send_error:
            raise self.send_error
        self.sent.append(signature)
        raise Ignore("replaced")


@pytest.fixture
def executor(monkeypatch):
    executor = FakeExecutor()
    monkeypatch.setattr(tasks, "own_executor", lambda: executor)
    return executor


@pytest.fixture(autouse=True)
def node(monkeypatch):
    node = OwnNode()
    monkeypatch.setattr(tasks, "own_node", lambda: node)
    return node


@pytest.fixture(autouse=True)
def chosen(monkeypatch):
    chosen = Settings(
        broker_url="amqp://localhost//",
        pools={"gpu": ["#"], "large": []},
        bigger_pool={"gpu": "large"},
        retry_base_s=0.001,
        retry_cap_s=0.002,
    )
    monkeypatch.setattr(tasks, "settings", lambda: chosen)
    return chosen


@pytest.fixture
def task():
    return FakeTask()


def told(node):
    events = []
    while not node.outbox.empty():
        events.append(node.outbox.get())
    return [event["status"] for event in events if event]


def test_a_first_delivery_is_told_from_one_that_came_again(executor, task):
    tasks._execute(task, PAYLOAD)
    task.request.delivery_info["redelivered"] = True
    tasks._execute(task, PAYLOAD)
    task.request.delivery_info["redelivered"] = False
    tasks._execute(task, PAYLOAD | {"attempt": 1})

    again = [False, True, True]
    assert [delivery.is_again for delivery in executor.deliveries] == again
    # Passed on it would look as if nobody had had it; of a copy the message itself tells.
    assert [delivery.can_pass_on for delivery in executor.deliveries] == [True, False, True]
    assert executor.deliveries[0] == Delivery("gpu1@host", bigger_pool="large", can_pass_on=True)
    assert {delivery.ask_next.func for delivery in executor.deliveries} == {own_ahead()._ask}


def test_a_moved_unit_takes_its_place_in_the_chord_along(executor, task, node):
    executor.status = "moved"

    with pytest.raises(Ignore):
        tasks._execute(task, PAYLOAD)

    ((kwargs, options),) = task.sent
    assert kwargs == {"message": PAYLOAD | {"attempt": 1}}  # somebody had it
    assert options == {
        "queue": "render.large.v1",
        "exchange": "render",
        "routing_key": "large.tile.atlas",
        "priority": 5,
    }
    assert told(node) == ["moved"]


def test_a_unit_that_cannot_be_moved_now_goes_back_to_its_queue(executor, task):
    executor.status = "moved"
    task.send_error = OSError("timed out")

    with pytest.raises(Reject) as caught:
        tasks._execute(task, PAYLOAD)

    assert caught.value.requeue
    assert isinstance(caught.value.__cause__, BrokerUnavailableError)


def test_a_quarantined_unit_goes_to_the_dead_letters_and_its_slice_to_its_end(executor, task, node):
    executor.status = "quarantined"

    with pytest.raises(Reject) as caught:
        tasks._execute(task, PAYLOAD)

    assert not caught.value.requeue
    assert task.counted == [("t-1", "quarantined")]
    assert told(node) == ["failed"]


def test_what_a_stopping_worker_has_goes_back_to_its_queue(executor, task):
    executor.error = WorkerStoppingError()

    with pytest.raises(Reject) as caught:
        tasks._execute(task, PAYLOAD)

    assert caught.value.requeue
    assert executor.failed == []


def test_a_unit_whose_store_is_away_is_handed_back(executor, monkeypatch):
    delivered = DeliveredTask()
    delivered.request.hostname = "gpu1@host"
    executor.error = StorageUnavailableError("store m does not answer")

    with pytest.raises(Ignore):
        tasks._execute(delivered, PAYLOAD)

    assert len(delivered.sent) == 1
    assert executor.failed == []


def test_what_waits_for_a_busy_worker_goes_to_another(executor):
    delivered = DeliveredTask()
    delivered.request.hostname = "gpu1@host"
    executor.error = BusyError("tile 3 of image 0 waits for another message's units")

    with pytest.raises(Ignore):
        tasks._execute(delivered, PAYLOAD)

    assert len(delivered.sent) == 1
    assert executor.failed == []


def test_a_bug_that_cannot_be_recorded_is_handed_back(executor):
    delivered = DeliveredTask()
    delivered.request.hostname = "gpu1@host"
    executor.error = ZeroDivisionError("division by zero")
    executor.fail_error = StorageUnavailableError("store m does not answer")

    with pytest.raises(Ignore):
        tasks._execute(delivered, PAYLOAD)

    assert len(delivered.sent) == 1


def test_in_one_process_there_is_nobody_to_hand_it_back_to(executor, task, monkeypatch):
    monkeypatch.setattr(tasks, "settings", Settings)
    executor.error = StorageUnavailableError("store m does not answer")

    assert tasks._execute(task, PAYLOAD)["status"] == "failed"
    assert executor.failed == ["store m does not answer"]


def test_in_one_process_what_cannot_be_recorded_is_raised(executor, task, monkeypatch):
    monkeypatch.setattr(tasks, "settings", Settings)
    executor.error = executor.fail_error = StorageUnavailableError("store m does not answer")

    with pytest.raises(StorageUnavailableError):
        tasks._execute(task, PAYLOAD)


def test_a_bug_ends_the_job(executor, task):
    executor.error = ZeroDivisionError("division by zero")

    assert tasks._execute(task, PAYLOAD)["status"] == "failed"
    assert executor.failed == ["division by zero"]


def test_a_worker_that_cannot_get_ready_ends_the_job(task, monkeypatch):
    def refuse():
        raise ConfigurationError("TILECHORD_DEVICE: this machine has 0 GPUs, got 'cuda'")

    ledger = JobLedger(MemoryStore())
    monkeypatch.setattr(tasks, "own_executor", refuse)
    monkeypatch.setattr(tasks, "runtime", lambda: SimpleNamespace(ledger=ledger))

    assert tasks._execute(task, PAYLOAD)["status"] == "failed"
    assert ledger.failure("job") == (
        "tile 3 of image 0: TILECHORD_DEVICE: this machine has 0 GPUs, got 'cuda'"
    )


def test_a_message_that_is_no_unit_goes_to_the_dead_letters(executor, task):
    with pytest.raises(Reject) as caught:
        tasks._execute(task, {"job_id": "job"})

    assert not caught.value.requeue
    assert executor.deliveries == []


def test_how_a_message_ended_that_nobody_rendered_is_told_once(executor, task, node):
    executor.status = "gone"
    tasks._execute(task, PAYLOAD | {"more": [4, 5]})

    assert node.outbox.get() is None  # it began
    event = node.outbox.get()
    assert (event["status"], event["index"], event["more"]) == ("gone", 3, [4, 5])
    assert node.outbox.empty()
