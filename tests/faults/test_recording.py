import pytest

from app.attempts import Attempts
from app.domain.errors import StorageUnavailableError
from app.domain.work import Stage, Work
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.patience import Patience
from app.schemas import WorkMessage, read_request
from app.storage.memory import MemoryStore
from tests.faults import recording
from tests.faults.history import History
from tests.faults.recording import RecordedStore
from tests.faults.renderer import NODE, TILE_MS, TRACE, FaultRenderer, inputs_of
from tests.faults.repeats import begun_again
from tests.unit.domain.cards import plan
from workers.errand import Delivery
from workers.execution import Executor

RENDER = plan(height=1024, width=1024)
TILE = "plans/0/image-0000/phase-0/tile-00001"


class SilentStore(MemoryStore):
    """Does what it is asked, and is never heard to have."""

    def put(self, key, data):
        super().put(key, data)
        raise StorageUnavailableError("store m does not answer")

    def delete(self, key):
        raise StorageUnavailableError("store m does not answer")


class ForgetfulStore(MemoryStore):
    """Does not find what it has."""

    def exists(self, key):
        return False


@pytest.fixture(autouse=True)
def history(tmp_path, monkeypatch):
    history = History(tmp_path / "history.jsonl")
    for name, value in {TRACE: str(history.path), NODE: "w1", TILE_MS: "0-1"}.items():
        monkeypatch.setenv(name, value)
    return history


def told(history):
    return [(event["event"], event["key"]) for event in history.events()]


def test_every_write_that_the_store_has_confirmed_is_told(history, tmp_path):
    store = RecordedStore(MemoryStore())
    picture = tmp_path / "picture"
    picture.write_bytes(b"pixels")

    store.put(TILE, b"tile")
    store.put(TILE, b"another")
    store.put_file("plans/0/image-0000/picture.png", picture)

    assert told(history) == [
        ("stored", TILE),
        ("stored", TILE),
        ("stored", "plans/0/image-0000/picture.png"),
    ]
    assert all(event["began_s"] <= event["at_s"] for event in history.events())


@pytest.mark.parametrize(
    "key",
    [
        "runs/0/image-0000/phase-0/tile-00001/1.2.w1",
        "jobs/a/request.json",
        "plans/0/image-0000/picture.png.json",
        "plans/0/image-0000/canvas-1/band-00000",
    ],
    ids=["run", "request", "record of a picture", "part"],
)
def test_what_proves_no_unit_done_is_not_told(history, key):
    store = RecordedStore(MemoryStore())

    store.put(key, b"")
    store.delete(key)

    assert told(history) == []


def test_a_write_whose_answer_is_lost_is_not_told(history):
    with pytest.raises(StorageUnavailableError):
        RecordedStore(SilentStore()).put(TILE, b"tile")

    assert told(history) == []


def test_a_removal_is_told_before_and_after(history):
    RecordedStore(MemoryStore()).delete(TILE)
    with pytest.raises(StorageUnavailableError):
        RecordedStore(SilentStore()).delete(TILE)

    assert told(history) == [("removing", TILE), ("removed", TILE), ("removing", TILE)]


@pytest.mark.parametrize(
    ("inner", "accused"),
    [(MemoryStore, 0), (ForgetfulStore, 3)],
    ids=["blobs are found", "blobs are not found"],
)
def test_a_message_that_comes_after_the_blobs_accuses_who_renders_it(
    history, monkeypatch, inner, accused
):
    monkeypatch.setattr(Executor, "_missing", Executor._missing)  # undone after the test
    recording.install_looks()
    store = RecordedStore(inner())
    for key in inputs_of(RENDER, Work(Stage.TILE, 0)):
        store.put(key, b"part")
    ledger = JobLedger(store)
    ledger.accept("job", read_request({"prompt": "a map"}), RENDER)
    executor = Executor(
        store,
        ledger,
        FaultRenderer(store),
        "cpu",
        attempts=Attempts(store, MemoryBoard(), 0.001, max_deaths=3, me="w1"),
        patience=Patience(3, 0.01, 0.1, is_stopping=lambda: False),
    )
    tiles = {"stage": Stage.TILE, "image": 0, "phase": 0, "index": 0, "more": [1, 2]}
    message = WorkMessage(job_id="job", plan_hash=RENDER.hash, together=2, **tiles)

    for _ in range(2):
        executor.execute(message, Delivery("w@host"))

    assert len(history.events("start")) == 3 + accused
    assert len(begun_again(history.events())) == accused
    assert Work(Stage.TILE, 0).key(RENDER) in history.events("look")[0]["keys"]
