"""What a worker of the test sees and does in the store, told to the history.

A blob is *stored* when the store has confirmed it, *removed* when it has confirmed that, and a
worker *looks* which of a message's units are to be rendered, or which of an image to be joined.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import get_ident
from typing import Any

from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work
from app.storage.port import BlobStore
from tests.faults.renderer import trace

_UNIT = re.compile(
    r"plans/.*/(base|prepared|phase-\d+/tile-\d+|canvas-\d+\.json|head|core-\d+|picture\.\w+)"
)
"""Blobs that prove a unit done; ``picture.png.json`` and the like are told about one."""
_IMAGE = re.compile(r"plans/[^/]+/image-\d+/")


class RecordedStore:
    """A store that tells of every unit's blob when it was confirmed, and when it was removed.

    Times on the clock that never goes back: that is one for all processes of a machine, whatever
    their wall clocks say.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes) -> bool:
        return self._stored(key, lambda: self._store.put(key, data))

    def put_file(self, key: str, path: Path) -> bool:
        return self._stored(key, lambda: self._store.put_file(key, path))

    def delete(self, key: str) -> None:
        is_unit, began_s = bool(_UNIT.fullmatch(key)), time.monotonic()
        if is_unit:
            trace("removing", key=key, began_s=began_s)  # it may happen though nobody hears of it
        self._store.delete(key)
        if is_unit:
            trace("removed", key=key, began_s=began_s)

    def keys(self, prefix: str) -> Iterator[str]:
        began_s = time.monotonic()
        found = self._store.keys(prefix)
        if _IMAGE.fullmatch(prefix):  # who joins lists an image's blobs, and joins what is missing
            trace("look", image=prefix, thread=get_ident(), began_s=began_s)
        return found

    def _stored(self, key: str, put: Callable[[], bool]) -> bool:
        """What *put* returns; the blob is there also when an earlier one had won."""
        began_s = time.monotonic()
        is_first = put()
        if _UNIT.fullmatch(key):
            trace("stored", key=key, began_s=began_s)
        return is_first


def install() -> None:
    """Let this process tell what it does in the store, before it builds its runtime."""
    from app import bootstrap, workflow

    open_store = bootstrap.open_store
    bootstrap.open_store = lambda chosen: RecordedStore(open_store(chosen))  # type: ignore
    for stage, name in ((Stage.MERGE, "merge_phase"), (Stage.PICTURE, "assemble_picture")):
        setattr(workflow, name, _told(stage, getattr(workflow, name)))


def install_looks() -> None:
    """Let this rendering worker tell which units it found to be rendered."""
    from workers.execution import Executor

    missing = Executor._missing

    def told(executor: Executor, plan: RenderPlan, errand: Any) -> Any:
        began_s = time.monotonic()
        found = missing(executor, plan, errand)
        trace("look", keys=[work.key(plan) for work in found], began_s=began_s)
        return found

    Executor._missing = told  # type: ignore


def _told(stage: Stage, join: Callable[..., None]) -> Callable[..., None]:
    def told(store: BlobStore, plan: RenderPlan, image: int, *phase: int) -> None:
        trace("join", key=Work(stage, image, *phase).key(plan), thread=get_ident())
        join(store, plan, image, *phase)

    return told
