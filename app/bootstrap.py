"""Where settings become objects: the one place that decides which adapter is used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from app.cards import Catalogue
from app.entries import Entries
from app.jobs import JobLedger
from app.live.open import open_board
from app.live.port import LiveBoard
from app.settings import Settings, settings
from app.storage.open import open_store
from app.storage.port import BlobStore
from app.telemetry.store import MeteredStore


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process needs to plan renders and to follow jobs."""

    settings: Settings
    store: BlobStore
    ledger: JobLedger
    catalogue: Catalogue
    board: LiveBoard

    @property
    def entries(self) -> Entries:
        """The line of open jobs."""
        return Entries(self.store)


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """This process's runtime, built from its settings at first use."""
    return build_runtime(settings())


def build_runtime(chosen: Settings) -> Runtime:
    store = MeteredStore(open_store(chosen))
    catalogue = Catalogue(list(chosen.models_path))
    return Runtime(chosen, store, JobLedger(store), catalogue, open_board(chosen))
