import pytest

from app.attempts import Attempts
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.own_node import OwnNode
from app.patience import Patience
from app.schemas import read_request
from tests.unit.workers.execution.scene import RENDER, ExitedError, FakeRenderer, UnreliableStore
from workers.execution import Executor


@pytest.fixture
def store():
    return UnreliableStore()


@pytest.fixture
def ledger(store):
    ledger = JobLedger(store)
    ledger.accept("job", read_request({"prompt": "a map"}), RENDER)
    return ledger


@pytest.fixture
def renderer():
    return FakeRenderer()


@pytest.fixture
def board():
    return MemoryBoard()


@pytest.fixture
def slept():
    return []


@pytest.fixture
def told():
    """Jobs of which all workers were told that they are not wanted."""
    return []


@pytest.fixture
def executor(store, ledger, renderer, board, slept, told):
    def exit_process():
        raise ExitedError

    return Executor(
        store,
        ledger,
        renderer,
        "cpu",
        attempts=Attempts(store, board, 0.001, max_deaths=3, me="me"),
        patience=Patience(3, 1.0, 8.0, is_stopping=lambda: False, sleep=slept.append),
        node=OwnNode(),
        tell_all=told.append,
        exit_process=exit_process,
    )
