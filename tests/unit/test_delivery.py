"""How a message goes back to its queue."""

import pytest
from celery.exceptions import Ignore, Reject

from app.delivery import hand_back, is_redelivered, pass_on
from app.domain.errors import BrokerUnavailableError, StorageUnavailableError
from app.patience import WorkerStoppingError
from app.settings import Settings
from tests.support.delivered import DeliveredTask

AWAY = StorageUnavailableError("store m does not answer")
CHOSEN = Settings(broker_url="amqp://localhost//", retry_base_s=0.001, retry_cap_s=0.002)


@pytest.fixture
def task():
    return DeliveredTask()


def test_a_message_that_is_handed_back_is_sent_anew_and_not_requeued(task):
    with pytest.raises(Ignore, match=r"^store m does not answer$"):
        hand_back(task, AWAY, CHOSEN)

    (sent,) = task.sent
    assert sent["queue"] == "render.control.v1"
    assert (sent["exchange"], sent["routing_key"]) == ("render", "control.finish.default")


def test_a_message_that_is_passed_on_does_not_wait(task):
    lasting = CHOSEN.model_copy(update={"retry_base_s": 60.0, "retry_cap_s": 60.0})

    with pytest.raises(Ignore, match=r"^busy$"):
        pass_on(task, RuntimeError("busy"), lasting)

    assert len(task.sent) == 1


def test_what_was_sent_to_a_queue_by_its_name_goes_back_there(task):
    task.request.delivery_info |= {"exchange": "", "routing_key": "render.control.v1"}

    with pytest.raises(Ignore):
        hand_back(task, AWAY, CHOSEN)

    assert "queue" not in task.sent[0]  # Celery takes the routing key for it


def test_a_message_whose_copy_cannot_be_sent_is_requeued(task):
    task.send_error = OSError("timed out")

    with pytest.raises(Reject) as caught:
        hand_back(task, AWAY, CHOSEN)

    assert caught.value.requeue
    assert isinstance(caught.value.__cause__, BrokerUnavailableError)


def test_nobody_hands_back_without_a_wait(task, monkeypatch):
    slept = []
    monkeypatch.setattr("app.patience.Patience.wait", lambda self, seconds: slept.append(seconds))
    impatient = CHOSEN.model_copy(update={"max_retries": 0, "retry_base_s": 2.0, "retry_cap_s": 9})

    with pytest.raises(Ignore):
        hand_back(task, AWAY, impatient)

    assert [1.0 <= seconds <= 2.0 for seconds in slept] == [True]


def test_a_worker_that_stops_while_it_waits_requeues_at_once(task, monkeypatch):
    monkeypatch.setattr("celery.worker.state.should_stop", 0)

    with pytest.raises(Reject) as caught:
        hand_back(task, AWAY, CHOSEN)

    assert caught.value.requeue
    assert isinstance(caught.value.__cause__, WorkerStoppingError)
    assert task.sent == []


@pytest.mark.parametrize("redelivered", [True, False], ids=["again", "first"])
def test_the_broker_says_whether_somebody_had_it_before(redelivered):
    assert is_redelivered(DeliveredTask(redelivered=redelivered)) is redelivered
