import threading
from types import SimpleNamespace

import pytest

from app.domain.guard import Limits, Load
from app.domain.work import Stage
from app.own_node import OwnNode
from app.schemas import WorkMessage
from app.settings import Settings
from tests.support.waiting import wait_for
from workers.guard import Guard, guard_limits, open_guard

LIMITS = Limits(gpu_memory=0.9, cpu=None, margin=0.1)


class FakeSensor:
    def __init__(self):
        self.load = Load()
        self.error = None

    def read(self):
        if self.error:
            raise self.error
        return self.load


class FakeConsumer:
    """Celery's consumer: queues it takes from, and a loop that runs when it is told to."""

    def __init__(self):
        self.task_consumer = object()
        self.loop = []
        self.consume_from = {"render.gpu.v1": 1, "render.node.w1.v1": 1}
        queues = SimpleNamespace(consume_from=self.consume_from, deselect=self.consume_from.pop)
        self.app = SimpleNamespace(amqp=SimpleNamespace(queues=queues))

    def call_soon(self, call):
        self.loop.append(call)

    def run(self):
        while self.loop:
            self.loop.pop(0)()

    def cancel_task_queue(self, name):
        assert self.task_consumer is not None
        self.consume_from.pop(name)

    def add_task_queue(self, name):
        assert self.task_consumer is not None
        self.consume_from[name] = 1


@pytest.fixture
def consumer():
    return FakeConsumer()


@pytest.fixture
def node():
    return OwnNode()


@pytest.fixture
def sensor():
    return FakeSensor()


@pytest.fixture
def guard(consumer, node, sensor):
    yield Guard(consumer, node, sensor, LIMITS, period_s=0.01)
    node.drain("SIGTERM")  # what its thread still logs would be in another test's log
    wait_for(lambda: "tilechord-guard" not in [thread.name for thread in threading.enumerate()])


def look(guard, consumer, sensor, gpu_memory):
    sensor.load = Load(gpu_memory=gpu_memory)
    guard.look()
    consumer.run()


def test_an_overloaded_node_takes_from_no_queue_and_says_why(guard, consumer, sensor, node):
    look(guard, consumer, sensor, 0.97)

    assert consumer.consume_from == {}
    assert node.record()["state"] == "paused"
    assert node.record()["reason"] == "GPU memory 97% in use by others, limit 90%"


def test_it_takes_from_the_same_queues_again_when_its_load_has_fallen(
    guard, consumer, sensor, node
):
    look(guard, consumer, sensor, 0.97)
    look(guard, consumer, sensor, 0.85)
    assert consumer.consume_from == {}

    look(guard, consumer, sensor, 0.79)

    assert set(consumer.consume_from) == {"render.gpu.v1", "render.node.w1.v1"}
    assert (node.record()["state"], node.record()["reason"]) == ("ready", "")


def test_it_takes_from_them_only_once_it_has_nothing(guard, consumer, sensor, node):
    message = WorkMessage(job_id="job", plan_hash="abc", stage=Stage.TILE, image=0)
    with node.working(message):
        look(guard, consumer, sensor, 0.97)
        look(guard, consumer, sensor, 0.1)
        assert consumer.consume_from == {}

    look(guard, consumer, sensor, 0.1)

    assert len(consumer.consume_from) == 2


def test_queues_are_touched_on_the_consumers_own_loop_alone(guard, consumer, sensor):
    sensor.load = Load(gpu_memory=0.97)

    guard.look()

    assert len(consumer.consume_from) == 2
    consumer.run()
    assert len(consumer.consume_from) == 0


def test_an_order_that_a_broken_connection_swallowed_is_given_again(guard, consumer, sensor):
    sensor.load = Load(gpu_memory=0.97)
    guard.look()
    consumer.loop.clear()

    look(guard, consumer, sensor, 0.97)

    assert consumer.consume_from == {}


def test_a_node_pauses_while_its_connection_is_down(guard, consumer, sensor):
    consumer.task_consumer = None

    look(guard, consumer, sensor, 0.97)

    assert consumer.consume_from == {}


def test_a_node_that_is_cut_off_resumes_when_it_is_connected_again(guard, consumer, sensor):
    look(guard, consumer, sensor, 0.97)
    consumer.task_consumer = None
    look(guard, consumer, sensor, 0.1)
    assert consumer.consume_from == {}

    consumer.task_consumer = object()
    look(guard, consumer, sensor, 0.1)

    assert len(consumer.consume_from) == 2


def test_a_queue_that_was_added_meanwhile_is_parked_too(guard, consumer, sensor):
    look(guard, consumer, sensor, 0.97)
    consumer.consume_from["render.late.v1"] = 1

    look(guard, consumer, sensor, 0.97)
    assert consumer.consume_from == {}
    look(guard, consumer, sensor, 0.1)

    assert len(consumer.consume_from) == 3


def test_a_sensor_that_fails_pauses_nobody(guard, consumer, sensor, node, caplog):
    guard.start()
    sensor.load = Load(gpu_memory=0.97)
    wait_for(lambda: node.record()["state"] == "paused")

    sensor.error = RuntimeError("driver is gone")

    wait_for(lambda: node.record()["state"] == "ready")
    node.drain("SIGTERM")
    wait_for(lambda: "guard.blind" in [record.message for record in caplog.records])


def test_a_change_is_logged_once(guard, consumer, sensor, caplog):
    caplog.set_level("INFO", logger="workers.guard")

    for used in (0.97, 0.98, 0.5, 0.4):
        look(guard, consumer, sensor, used)

    assert [record.message for record in caplog.records] == ["node.paused", "node.resumed"]


def test_a_threshold_of_zero_is_none():
    chosen = Settings(gpu_memory_threshold=0, cpu_usage_threshold=0.8, load_margin=0.2)

    assert guard_limits(chosen) == Limits(gpu_memory=None, cpu=0.8, margin=0.2)


@pytest.mark.parametrize(
    "chosen",
    [{"sensor": "none"}, {"gpu_memory_threshold": 0.0}],
    ids=["no sensor", "no threshold"],
)
def test_without_sensor_or_threshold_there_is_no_guard(consumer, node, chosen):
    assert open_guard(consumer, node, Settings(device="cpu", **chosen)) is None
