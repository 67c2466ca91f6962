"""Blobs that were damaged or lost after they were written: they are made again."""

from __future__ import annotations

import logging
from itertools import chain

from app.domain.errors import CorruptBlobError, NotFoundError, RenderError
from app.domain.plan import RenderPlan
from app.domain.work import JOINED_STAGES, WORKER_STAGES, Work, image_work
from app.jobs import present_keys
from app.parts import parts_of, sources_of
from app.storage.port import BlobStore

log = logging.getLogger(__name__)

UNREADABLE = (CorruptBlobError, NotFoundError)
"""What a unit raises that cannot read what it is made of."""


def mend(store: BlobStore, plan: RenderPlan, work: Work, error: RenderError) -> None:
    """Let be asked for again what *work* needs and could not read, as *error* says.

    Blobs that are damaged are removed, and the proofs of stages that have lost a part of theirs:
    whoever compares the plan with the blobs finds these undone. All else stays, and is what it is
    when they are done again.
    """
    if isinstance(error, CorruptBlobError):
        remove_damaged(store, plan, work)
    _remove_hollow(store, plan, work)


def remove_damaged(store: BlobStore, plan: RenderPlan, work: Work) -> list[str]:
    """Remove the blobs of *work*'s image whose bytes do not match their checksum; their keys.

    Reads all that may be meant, which only follows a read that has failed: tiles and cores too
    where the control worker could not join them.
    """
    damaged = []
    for key in sorted(present_keys(store, plan, work.image) - _unread(plan, work)):
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


def _unread(plan: RenderPlan, work: Work) -> set[str]:
    """Most of an image's bytes, of which workers read none."""
    if work.stage not in WORKER_STAGES:
        return set()
    units = chain.from_iterable(image_work(plan, work.image))
    return {unit.key(plan) for unit in units if unit.stage in JOINED_STAGES}


def _remove_hollow(store: BlobStore, plan: RenderPlan, work: Work) -> None:
    """Remove the proofs of those units before *work* of which it may miss a part."""
    keys = present_keys(store, plan, work.image)
    hollow = [
        key
        for unit in sources_of(plan, work)
        if (key := unit.key(plan)) in keys
        and any(part not in keys for part in parts_of(plan, unit))
    ]
    for key in hollow:
        store.delete(key)
    if hollow:
        log.info("blobs.lost", extra={"plan_hash": plan.hash, "keys": hollow})
