import pytest

from app.bootstrap import Runtime
from app.cards import Catalogue
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    build_tiny_model(folder / "tiny")
    return Catalogue([folder])


@pytest.fixture
def runtime(catalogue):
    store = MemoryStore()
    chosen = Settings(model="tiny", broker_url="amqp://localhost//")
    return Runtime(chosen, store, JobLedger(store), catalogue, MemoryBoard())
