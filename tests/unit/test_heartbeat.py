import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from celery import Celery

from app import heartbeat
from app.celery import celery
from app.domain.errors import BrokerUnavailableError
from app.heartbeat import Heartbeat, served_pools
from app.live.memory import MemoryBoard
from app.nodes import NODES, read_nodes
from app.own_node import OwnNode
from app.settings import Settings
from tests.support.waiting import wait_for

NAME = "w1@host"


class FlakyBoard(MemoryBoard):
    """A board that can be down, and counts how often a node was shown."""

    def __init__(self):
        super().__init__()
        self.is_down = False
        self.beats = 0
        self.refused = 0

    def tell(self, event):
        self._answer()
        super().tell(event)

    def show(self, topic, name, record, *, ttl_s):
        self._answer()
        super().show(topic, name, record, ttl_s=ttl_s)
        self.beats += 1

    def _answer(self):
        if self.is_down:
            self.refused += 1
            raise BrokerUnavailableError("live board is down")


@pytest.fixture
def board():
    return FlakyBoard()


@pytest.fixture
def node():
    node = OwnNode()
    node.introduce(node=NAME, pid=1, pool="gpu")
    return node


@contextmanager
def beating(board, node, period_s=0.02):
    beat = Heartbeat(board, node, NAME, period_s)
    beat.start()
    try:
        yield
    finally:
        beat.stop()


def test_a_node_is_shown_again_and_again_and_hidden_at_the_end(board, node):
    with beating(board, node):
        wait_for(lambda: board.beats >= 3)
        assert [found.node for found in read_nodes(board, 2.0)] == [NAME]

    assert read_nodes(board, 2.0) == []


def test_the_heart_beats_while_a_unit_keeps_its_thread_busy(board, node):
    with beating(board, node):
        before, end_s = board.beats, time.monotonic() + 0.5
        while time.monotonic() < end_s:
            sum(range(1000))

        assert board.beats - before >= 5


def test_a_change_of_state_is_shown_at_once(board, node):
    with beating(board, node, period_s=60):
        wait_for(lambda: board.beats == 1)

        node.pause("GPU memory 97 %")

        wait_for(lambda: board.shown(NODES)[NAME]["state"] == "paused")


def test_events_are_told_in_order_without_making_anybody_wait(board, node):
    with beating(board, node, period_s=60):
        for number in range(3):
            node.tell({"number": number})

        heard = []
        wait_for(lambda: heard.extend(board.listen(1.0)) or len(heard) == 3)

    assert heard == [{"node": NAME, "number": number} for number in range(3)]


def test_many_events_do_not_delay_the_beat(board, node):
    stop = threading.Event()

    def talk():
        while not stop.is_set():
            node.tell({"kind": "unit"})
            time.sleep(0.001)

    talker = threading.Thread(target=talk)
    with beating(board, node):
        talker.start()
        wait_for(lambda: board.beats >= 5)
        stop.set()
        talker.join()


def test_what_was_told_before_the_end_is_told(board, node):
    with beating(board, node, period_s=60):
        for number in range(20):
            node.tell({"number": number})

    assert len(board.listen(0.0)) == 20


def test_a_board_that_is_down_is_told_once_and_served_again_when_it_is_back(board, node, caplog):
    caplog.set_level("INFO", logger="app.heartbeat")
    board.is_down = True
    with beating(board, node):
        wait_for(lambda: board.refused >= 3)
        board.is_down = False
        wait_for(lambda: board.beats >= 2)

    assert [record.message for record in caplog.records] == ["node.unheard", "node.heard_again"]


def test_events_that_waited_for_a_board_that_is_down_are_dropped(board, node):
    board.is_down = True
    for number in range(50):
        node.tell({"number": number})
    with beating(board, node):
        wait_for(lambda: board.refused >= 3)
        board.is_down = False
        wait_for(lambda: board.beats >= 1)

        assert board.listen(0.0) == []
        node.tell({"number": 51})
        assert board.listen(5.0) == [{"node": NAME, "number": 51}]


def test_the_order_to_stop_survives_a_board_that_is_down(board, node):
    board.is_down = True

    began = time.monotonic()
    with beating(board, node, period_s=60):
        for _ in range(20):
            node.tell({})

    assert time.monotonic() - began < 5


def test_facts_that_cannot_be_read_do_not_stop_the_heart(board, node, caplog):
    answers = iter([RuntimeError("CUDA error"), RuntimeError("CUDA error")])

    def facts():
        for error in answers:
            raise error
        return {"device": "cuda:0"}

    node.describe_device(facts)
    with beating(board, node):
        wait_for(lambda: board.shown(NODES))

    assert [record.message for record in caplog.records] == ["node.beat_failed"] * 2


@pytest.mark.parametrize(
    ("queues", "pools"),
    [
        (["render.gpu.v1"], ["gpu"]),
        (["render.gpu.v1", "render.control.v1"], ["control", "gpu"]),
        (["render.node.w1.v1"], []),
    ],
    ids=["one", "two", "its own"],
)
def test_the_pools_of_a_node_are_those_whose_queues_it_consumes(queues, pools):
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from=dict.fromkeys(queues)))

    assert served_pools(SimpleNamespace(app=SimpleNamespace(amqp=amqp)), Settings()) == pools


def test_a_worker_that_is_told_to_stop_shows_that_it_drains(monkeypatch):
    node = OwnNode()
    monkeypatch.setattr(heartbeat, "own_node", lambda: node)

    heartbeat._drain(sig="SIGTERM")

    assert node.record()["state"] == "draining"
    assert node.record()["reason"] == "SIGTERM"


@pytest.fixture
def watched(monkeypatch):
    """Nodes that a watchdog was started for, with its limits."""
    found = []

    class Watchdog:
        def __init__(self, node, **limits):
            self.watched = node, limits

        def start(self):
            found.append(self.watched)

    chosen = Settings(unit_timeout_s=60, spot_grace_s=20)
    monkeypatch.setattr(heartbeat, "Watchdog", Watchdog)
    monkeypatch.setattr(heartbeat, "runtime", lambda: SimpleNamespace(settings=chosen))
    monkeypatch.setattr(heartbeat, "begin", lambda consumer: None)
    monkeypatch.setattr(heartbeat.atexit, "register", lambda end: None)
    return found


def test_every_worker_of_a_process_of_its_own_has_a_watchdog(watched):
    heartbeat._begin(sender=SimpleNamespace(app=celery))

    assert watched == [(heartbeat.own_node(), {"unit_timeout_s": 60, "spot_grace_s": 20})]


def test_a_clients_own_worker_is_not_watched(watched):
    heartbeat._begin(sender=SimpleNamespace(app=Celery("theirs", set_as_current=False)))

    assert watched == []


def test_the_end_may_come_twice():
    heartbeat.end()
    heartbeat.end()
