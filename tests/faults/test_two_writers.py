"""One unit in the hands of several workers whose pixels differ: the first version is the tile."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.attempts import Attempts
from app.domain.work import Stage, Work
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.own_node import OwnNode
from app.patience import Patience
from app.schemas import WorkMessage, read_request
from app.storage.folder import FolderStore
from tests.unit.domain.cards import plan
from workers.errand import Delivery
from workers.execution import Executor

RENDER = plan(height=1024, width=1024)
COPIES = 5


class OwnPixels:
    """Renders a tile as no other worker does, when it is let."""

    def __init__(self, name):
        self.name = name
        self.before_the_end = lambda: None

    def load(self, plan, stage):
        """There is nothing to load."""

    def render(self, plan, work, check):
        self.before_the_end()
        check()
        return f"pixels of {self.name}".encode() * 1000


@pytest.fixture
def store(tmp_path):
    store = FolderStore(tmp_path / "store")
    JobLedger(store).accept("job", read_request({"prompt": "a map"}), RENDER)
    return store


@pytest.fixture
def worker(store):
    """Makes an executor with pixels of its own on the store that all share."""

    def make(name):
        renderer = OwnPixels(name)
        executor = Executor(
            store,
            JobLedger(store),
            renderer,
            "cpu",
            attempts=Attempts(store, MemoryBoard(), 0.001, max_deaths=3, me=name),
            patience=Patience(3, 0.01, 0.1, is_stopping=lambda: False),
            node=OwnNode(),
        )
        return executor, renderer

    return make


def message(index):
    return WorkMessage(job_id="job", plan_hash=RENDER.hash, stage=Stage.TILE, image=0, index=index)


def key(index):
    return Work(Stage.TILE, 0, index=index).key(RENDER)


def test_of_copies_rendered_at_once_one_version_is_seen_by_all(store, worker):
    workers = [worker(f"w{number}") for number in range(COPIES)]

    def render(each, index, together):
        executor, renderer = each
        renderer.before_the_end = together.wait
        executor.execute(message(index), Delivery("w@host"))
        return store.get(key(index))

    with ThreadPoolExecutor(COPIES) as pool:
        for index in range(9):
            together = threading.Barrier(COPIES)
            seen = set(pool.map(render, workers, [index] * COPIES, [together] * COPIES))
            seen.add(store.get(key(index)))

            assert len(seen) == 1


def test_a_worker_that_wakes_up_late_changes_no_byte(store, worker):
    # Frozen within a tile that somebody else finishes, it goes on as if nothing had been.
    zombie, asleep = worker("zombie")
    living, _ = worker("living")
    seen = []

    def somebody_else():
        living.execute(message(3), Delivery("living@host", is_again=True))
        seen.append(store.get(key(3)))

    asleep.before_the_end = somebody_else

    outcome = zombie.execute(message(3), Delivery("zombie@host"))

    assert outcome == {"key": key(3), "status": "rendered"}
    assert seen == [b"pixels of living" * 1000]
    assert store.get(key(3)) == seen[0]


def test_a_copy_that_comes_after_the_blob_is_not_rendered(store, worker):
    first, _ = worker("first")
    second, renderer = worker("second")
    first.execute(message(3), Delivery("first@host"))
    renderer.before_the_end = pytest.fail

    outcome = second.execute(message(3), Delivery("second@host", is_again=True))

    assert outcome["status"] == "present"
    assert store.get(key(3)) == b"pixels of first" * 1000
