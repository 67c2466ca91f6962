"""Blobs that were damaged after they were written: removed, so that they are made again."""

from __future__ import annotations

import logging

from app.domain.errors import CorruptBlobError, NotFoundError
from app.domain.plan import RenderPlan
from app.jobs import present_keys
from app.storage.port import BlobStore

log = logging.getLogger(__name__)


def remove_damaged(store: BlobStore, plan: RenderPlan, image: int) -> list[str]:
    """Remove the blobs of *image* whose bytes do not match their checksum; their keys.

    Reads all of them, which only follows a read that has failed.
    """
    damaged = []
    for key in sorted(present_keys(store, plan, image)):
        try:
            for _ in store.stream(key):
                pass
        except CorruptBlobError:
            store.delete(key)
            damaged.append(key)
        except NotFoundError:  # removed by somebody else
            continue
    if damaged:
        log.info("blobs.damaged", extra={"plan_hash": plan.hash, "keys": damaged})
    return damaged
