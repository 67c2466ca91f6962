import time

import pytest

from app.domain.work import Stage, Work
from app.jobs import JobLedger
from app.manifests import read_runs
from app.own_node import OwnNode
from app.patience import Patience
from app.schemas import WorkMessage
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan
from workers.errand import Delivery, Errand
from workers.keeping import Keeper, Rendered
from workers.watch import JobWatch

RENDER = plan(height=1024, width=1024)
WORKS = [Work(Stage.TILE, 0, index=index) for index in (3, 4)]
MESSAGE = WorkMessage(
    job_id="job", plan_hash=RENDER.hash, stage=Stage.TILE, image=0, index=3, more=[4]
)


class RecordingStore(MemoryStore):
    """Remembers the order in which keys came."""

    def __init__(self):
        super().__init__()
        self.came = []

    def put(self, key, data):
        self.came.append(key)
        return super().put(key, data)


@pytest.fixture
def store():
    return RecordingStore()


@pytest.fixture
def errand(store):
    patience = Patience(2, 1.0, 8.0, is_stopping=lambda: False, sleep=lambda _: None)
    return Errand(MESSAGE, Delivery("gpu1@host"), patience, JobWatch(JobLedger(store)))


def keep(store, errand, began_s):
    rendered = Rendered(WORKS, [b"three", b"four"], began_s, began_s)
    Keeper(store, OwnNode(), "cpu").keep(RENDER, rendered, errand)


def test_every_blob_is_stored_before_any_run_is_recorded(store, errand):
    keep(store, errand, time.monotonic())

    assert store.came[:2] == [work.key(RENDER) for work in WORKS]
    assert [store.get(work.key(RENDER)) for work in WORKS] == [b"three", b"four"]
    assert len(store.came) == 4


def test_a_batch_shares_its_seconds(store, errand):
    keep(store, errand, time.monotonic() - 8.0)

    first, second = sorted(read_runs(store, RENDER), key=lambda run: run.unit)
    assert first.seconds == second.seconds == pytest.approx(4.0, abs=0.5)
    assert second.started_ms - first.started_ms == pytest.approx(4000, abs=500)
    assert {first.worker, second.worker} == {"gpu1-host"}
