"""What lies in store and queues when a run is over, told to the history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

from app.domain.errors import NotFoundError
from app.domain.plan import RenderPlan
from app.domain.work import WORKER_STAGES, Stage, Work, unit_name, work_of
from app.jobs import present_keys
from tests.faults.ends import end_of
from tests.faults.history import Event
from tests.faults.nemesis import Field
from tests.faults.renderer import clean_pictures
from tests.support.waiting import wait_for


def tell_outcomes(field: Field, say: Callable[[str], None]) -> None:
    """An ``outcome`` for every order that reached the store, then what is ``left``."""
    known = set(field.runtime.ledger.job_ids())
    orders = list(dict.fromkeys(event["job_id"] for event in field.history.events("submit")))
    clean = lru_cache(maxsize=None)(_clean_by_hash(field))
    for number, job_id in enumerate(orders):
        if job_id in known:
            field.history.add("outcome", job_id=job_id, **_outcome(field, job_id, clean))
        if number % 50 == 49:
            say(f"checked {number + 1} of {len(orders)} jobs")
    field.history.add("left", places=left(field))


def check_picture(field: Field, job_id: str, *, limit_s: float = 60.0) -> None:
    """The job ends in time, and its pictures are those of a run without faults."""
    ledger = field.runtime.ledger
    wait_for(lambda: end_of(ledger, job_id), limit_s=limit_s)
    assert ledger.failure(job_id) is None
    pictures = [image.sha256 for image in ledger.result(job_id).images]
    assert pictures == clean_pictures(ledger.plan(job_id))


def check_end(field: Field, job_id: str) -> None:
    """The same, and nothing of the job is left behind."""
    check_picture(field, job_id, limit_s=90)
    assert wait_for(lambda: not left(field), limit_s=60)


def _clean_by_hash(field: Field) -> Callable[[str], list[str]]:
    from app.domain.work import plan_key
    from app.schemas import read_plan

    return lambda plan_hash: clean_pictures(read_plan(field.runtime.store.get(plan_key(plan_hash))))


def _outcome(field: Field, job_id: str, clean: Callable[[str], list[str]]) -> Event:
    ledger, store = field.runtime.ledger, field.runtime.store
    state = end_of(ledger, job_id)
    try:
        plan = ledger.plan(job_id)
    except NotFoundError:  # never planned
        return {"state": state, "reason": ledger.failure(job_id), "missing": ["plan"]}
    units, keys = _units(plan), present_keys(store, plan)
    outcome: Event = {
        "state": state,
        "reason": ledger.failure(job_id),
        "plan": plan.hash,
        "units": sum(work.stage in WORKER_STAGES for work in units),
        "tiles": sum(work.stage is Stage.TILE for work in units),
        "missing": [unit_name(plan, work) for work in units if work.key(plan) not in keys],
    }
    if state == "succeeded":
        images = ledger.result(job_id).images
        outcome["pictures"] = [image.sha256 for image in images]
        outcome["stored"] = [hashlib.sha256(store.get(image.key)).hexdigest() for image in images]
        outcome["clean"] = clean(plan.hash)
    return outcome


def _units(plan: RenderPlan) -> list[Work]:
    return [work for group in work_of(plan) for work in group]


def left(field: Field) -> dict[str, int]:
    """Messages, open entries and half-written files that nobody will ever take away."""
    found = {
        "places in line": len(field.runtime.entries.all()),
        "half-written uploads": _uploads(field),
    }
    queues = field.ground.messages()
    assert any(name.startswith("render.") for name in queues), queues
    for name, count in queues.items():
        if name.startswith("render."):
            found[f"messages in {name}"] = count
    return {place: count for place, count in found.items() if count}


def _uploads(field: Field) -> int:
    from minio import Minio

    chosen = field.ground.direct_settings()
    client = Minio(
        chosen.s3_endpoint,
        access_key=chosen.s3_access_key.get_secret_value(),
        secret_key=chosen.s3_secret_key.get_secret_value(),
        secure=False,
        region=chosen.s3_region,
    )
    bucket = chosen.store_url.removeprefix("s3://")
    return len(client._list_multipart_uploads(bucket).uploads)
