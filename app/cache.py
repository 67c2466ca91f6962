"""Which plan answers an order: that of pictures in the store, or one that is rendered anew."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from hashlib import sha256

from app.domain.errors import CorruptBlobError, NotFoundError
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, plan_prefix
from app.measuring import quality_key
from app.storage.port import BlobStore

MARK_S = 600.0
"""A mark that is older was left behind by a process that died."""


def plan_of_order(
    store: BlobStore, plan: RenderPlan, job_id: str, *, is_cached: bool, ttl_s: float, now_s: float
) -> RenderPlan:
    """The plan that a job's pictures lie under: *plan* itself, or it with a ``run`` of its own.

    *ttl_s*: how old a result may be, 0 for any age. Orders that find it too old share what is
    rendered in its place, as far as they come within the same *ttl_s*.
    """
    if not is_cached:
        return replace(plan, run=job_id)
    if not ttl_s or not _is_older(store, plan, now_s - ttl_s):
        return plan
    slot = int(now_s // ttl_s)
    before, current = (
        replace(plan, run=f"from-{round(number * ttl_s)}") for number in (slot - 1, slot)
    )
    return before if _is_younger(store, before, now_s - ttl_s) else current


def is_whole(store: BlobStore, plan: RenderPlan) -> bool:
    """Whether every picture is in the store and undamaged; reads them.

    A damaged one is removed with what is told about it, and so is rendered again.
    """
    if _finished_s(store, plan) is None:
        return False
    are_whole = True
    for image in range(plan.spec.count):
        if not _is_picture_whole(store, plan, image):
            are_whole = False
            # At once: whoever else finds it damaged may have made it again by the end.
            key = Work(Stage.PICTURE, image).key(plan)
            for name in (key, f"{key}.json", quality_key(plan, image)):
                store.delete(name)
    return are_whole


def mark_key(plan_hash: str, now_s: float, owner: str) -> str:
    """Says that *owner* removes the plan's pictures: they are nobody's result meanwhile."""
    return f"{_marks(plan_hash)}{round(now_s * 1000)}/{owner}"


def is_being_removed(store: BlobStore, plan_hash: str) -> bool:
    """Whether somebody removes the plan's pictures."""
    since_ms = (time.time() - MARK_S) * 1000
    return any(int(key.split("/")[2]) > since_ms for key in store.keys(_marks(plan_hash)))


def _marks(plan_hash: str) -> str:
    return f"cleaning/{plan_hash}/"


def _is_older(store: BlobStore, plan: RenderPlan, since_s: float) -> bool:
    finished_s = _finished_s(store, plan)
    return finished_s is not None and finished_s < since_s


def _is_younger(store: BlobStore, plan: RenderPlan, since_s: float) -> bool:
    finished_s = _finished_s(store, plan)
    return finished_s is not None and finished_s >= since_s


def _finished_s(store: BlobStore, plan: RenderPlan) -> float | None:
    """When the oldest of the pictures was written; ``None`` until all are there."""
    written_s = {blob.key: blob.modified_s for blob in store.stat(plan_prefix(plan))}
    keys = [Work(Stage.PICTURE, image).key(plan) for image in range(plan.spec.count)]
    if any(key not in written_s for key in keys):
        return None
    return min(written_s[key] for key in keys)


def _is_picture_whole(store: BlobStore, plan: RenderPlan, image: int) -> bool:
    key, digest = Work(Stage.PICTURE, image).key(plan), sha256()
    try:
        for piece in store.stream(key):
            digest.update(piece)
        record = json.loads(store.get(f"{key}.json"))
    except (CorruptBlobError, NotFoundError):
        return False
    return bool(record["sha256"] == digest.hexdigest())
