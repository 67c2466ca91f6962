import pytest

from app.live.memory import MemoryBoard
from app.nodes import NodeRecord
from app.settings import Settings
from app.telemetry.pools import POOLS, pending_seconds
from app.telemetry.queues import QueueCollector

GONE = "amqp://guest:guest@127.0.0.1:1//"
NO_REDIS = "redis://127.0.0.1:1/0"


def values(collector):
    return {
        (sample.name, sample.labels.get("pool")): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def test_a_broker_that_is_down_is_a_value_and_counted():
    collector = QueueCollector(Settings(broker_url=GONE))
    collector._board = MemoryBoard()

    list(collector.collect())

    assert values(collector) == {
        ("tilechord_broker_up", None): 0,
        ("tilechord_queue_scrape_errors_total", None): 2,
        ("tilechord_board_up", None): 1,
    }


def test_the_work_that_waits_is_told_by_pool():
    collector = QueueCollector(Settings(broker_url=GONE))
    collector._board = MemoryBoard()
    gpu = {"ready": 7, "pending_s": 90.5, "workers": 2, "open_jobs": 3, "oldest_s": 86_400.0}
    collector._board.show(POOLS, "gpu", gpu, ttl_s=60)
    collector._board.show(POOLS, "maps", {"ready": 0, "pending_s": 0, "workers": 0}, ttl_s=60)

    found = values(collector)

    assert found["tilechord_pending_seconds", "gpu"] == 90.5
    assert found["tilechord_open_jobs", "gpu"] == 3
    assert found["tilechord_oldest_job_seconds", "gpu"] == 86_400
    names = ("pending_seconds", "open_jobs", "oldest_job_seconds")
    assert [found[f"tilechord_{name}", "maps"] for name in names] == [0, 0, 0]


def test_a_board_that_is_down_is_a_value():
    chosen = Settings(broker_url=GONE, result_backend=NO_REDIS)

    found = values(QueueCollector(chosen))

    assert found["tilechord_board_up", None] == 0
    assert not any(name == "tilechord_pending_seconds" for name, _ in found)


def test_queues_of_living_nodes_are_asked_for_as_well(monkeypatch):
    asked = []
    monkeypatch.setattr("app.telemetry.queues.connect", lambda _: None)
    monkeypatch.setattr(QueueCollector, "_state", lambda self, _, name: asked.append(name))
    collector = QueueCollector(Settings(broker_url=GONE))
    collector._board = MemoryBoard()
    nodes = [
        NodeRecord(node="a@h", pid=1, pool="gpu", queue="render.node.a.v1"),
        NodeRecord(node="pulls@h", pid=2, pool="gpu"),
        NodeRecord(node="lost@h", pid=3, pool="gpu", queue="render.node.lost.v1", is_lost=True),
    ]
    monkeypatch.setattr("app.telemetry.queues.read_nodes", lambda *_: nodes)

    list(collector.collect())

    assert asked == ["render.control.v1", "render.gpu.v1", "render.dead.v1", "render.node.a.v1"]


def test_a_board_that_is_down_leaves_the_pools_queues(monkeypatch):
    asked = []
    monkeypatch.setattr("app.telemetry.queues.connect", lambda _: None)
    monkeypatch.setattr(QueueCollector, "_state", lambda self, _, name: asked.append(name))

    list(QueueCollector(Settings(broker_url=GONE, result_backend=NO_REDIS)).collect())

    assert asked == ["render.control.v1", "render.gpu.v1", "render.dead.v1"]


@pytest.mark.parametrize(
    "pending_s", [None, "many", -1, [3]], ids=["none", "text", "negative", "list"]
)
def test_a_figure_that_is_none_is_left_out(pending_s):
    board = MemoryBoard()
    board.show(POOLS, "gpu", {"pending_s": pending_s}, ttl_s=60)

    assert pending_seconds(board) == {}
