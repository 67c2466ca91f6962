"""What happens next in a job: functions of the plan and the blobs that exist.

Tasks are named, not imported: clients and the control worker have no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

from celery import chord, group
from celery.canvas import Signature

from app.attempts import Step
from app.bootstrap import Runtime
from app.cache import is_being_removed, is_whole, plan_of_order
from app.celery import celery
from app.domain.batching import batches
from app.domain.errors import (
    InvalidRequestError,
    NotFoundError,
    RenderCancelledError,
    RenderFailedError,
)
from app.domain.plan import RenderPlan
from app.domain.rounds import round_latencies
from app.domain.spec import Priority
from app.domain.work import (
    JOINED_STAGES,
    WORKER_STAGES,
    Stage,
    Work,
    image_work,
    next_of_image,
    stage_model,
    unit_name,
    waits_for_workers,
)
from app.jobs import present_keys
from app.manifests import manifest_of, read_runs
from app.merging import assemble_picture, merge_phase
from app.node_queues import to_node
from app.patience import nothing
from app.planning import plan_request
from app.queues import route, to_pool
from app.repair import UNREADABLE, mend
from app.schemas import MOST_TOGETHER, Manifest, RenderRequest, WorkMessage
from app.telemetry import metrics

RENDER = "app.tasks.render"
ADVANCE = "app.tasks.advance"
MERGE = "app.tasks.merge"
FINISH = "app.tasks.finish"
Watched = Callable[[Step], AbstractContextManager[object]]
"""What is around a step that may cost a control worker its life."""
Note = Callable[[Work], None]
WORKER_TASKS = {stage: f"workers.tasks.{stage}" for stage in WORKER_STAGES}
_MANY = 10
"""Keys whose listing takes as long as to ask for one of them, about."""
_BODIES = {Stage.TILE: MERGE, Stage.CORE: FINISH}


def start(runtime: Runtime, job_id: str, request: RenderRequest) -> Manifest | None:
    """Plan the job and record it; its result when every picture is in the store already.

    Nothing is done for a job that has its plan.
    """
    store, ledger = runtime.store, runtime.ledger
    if ledger.has_lost_plan(job_id):
        ledger.unplan(job_id)
    if ledger.has_plan(job_id):
        return None  # its message came again: the dispatcher has the job
    _check_inputs(runtime, request)
    plan = plan_of(runtime, job_id, request)
    ledger.accept(job_id, request, plan)
    return _finish(runtime, job_id, plan, is_cached=True) if is_whole(store, plan) else None


def plan_of(runtime: Runtime, job_id: str, request: RenderRequest) -> RenderPlan:
    """The plan that the job's pictures lie under, as things are now."""
    plan = plan_request(request, runtime.catalogue, runtime.settings, runtime.store.get)
    return plan_of_order(
        runtime.store,
        plan,
        job_id,
        is_cached=request.cache,
        ttl_s=runtime.settings.cache_ttl_s,
        now_s=time.time(),
    )


def advance(
    runtime: Runtime,
    job_id: str,
    images: Collection[int] | None = None,
    *,
    watched: Watched = nullcontext,
    note: Note = nothing,
) -> Manifest | None:
    """Merge what can be merged and assemble what can be assembled; the result if that was all.

    May run twice at any time: it compares the plan with the blobs and remembers nothing.
    *images* are those that may have come further, all of them when left out; *note* is told of
    each unit that was done.
    Raises ``RenderFailedError`` or ``RenderCancelledError`` when the job has ended so.
    """
    if runtime.ledger.has_result(job_id):
        return runtime.ledger.result(job_id)
    try:
        plan = runtime.ledger.plan(job_id)
    except NotFoundError:
        if runtime.ledger.has_lost_plan(job_id):  # the dispatcher knows it, or asks for another
            return None
        raise
    are_there = True
    for image in range(plan.spec.count) if images is None else images:
        raise_if_ended(runtime, job_id)
        are_there &= _advance_image(runtime, job_id, plan, image, watched=watched, note=note)
    # Of many pictures a few say nothing about the others, and to list them all takes seconds.
    is_all = images is None or len(set(images)) >= plan.spec.count
    if not (is_all and are_there):
        return None
    with watched(Step(plan.hash, "result", "result")):
        try:
            return _finish(runtime, job_id, plan)
        except UNREADABLE:
            # Pictures whose records are damaged or lost are removed here, and assembled again.
            if is_whole(runtime.store, plan) or not runtime.ledger.may_mend(job_id, "result"):
                raise
    return advance(runtime, job_id, images, watched=watched, note=note)


def raise_if_ended(runtime: Runtime, job_id: str) -> None:
    """Raises the error the job has ended with, if it has ended without a result."""
    if (reason := runtime.ledger.failure(job_id)) is not None:
        raise RenderFailedError(reason)
    if runtime.ledger.is_cancelled(job_id):
        raise RenderCancelledError(f"job {job_id} was cancelled")


def slice_tasks(
    runtime: Runtime,
    job_id: str,
    plan: RenderPlan,
    units: Sequence[Work],
    priority: Priority,
    *,
    attempt: int = 0,
    batch: int = 1,
    nodes: Sequence[str] = (),
    pool: str = "",
) -> Signature:
    """Tasks of up to *batch* units each, all of one stage, and the callback that merges.

    No callback where workers go on with what these have made: the dispatcher hears of that.
    *nodes* are those that get the units, one each; without any they go to the *pool*, by default
    the one that they are bound to.
    The callback is immutable and carries the job and its images alone: Celery copies it into
    every member.
    """
    stage = units[0].stage
    options = route(runtime.settings, stage, stage_model(plan, stage), priority)
    if pool:
        options = to_pool(options, pool)
    header = [
        celery.signature(
            WORKER_TASKS[stage],
            kwargs={"message": _message(runtime, job_id, plan, carried, attempt)},
            options=to_node(options, node) | {"kwargsrepr": _told(job_id, carried)},
        )
        for node, theirs in _by_node(units, nodes)
        for carried in batches(plan, theirs, 1 if attempt else batch)
    ]
    if stage not in JOINED_STAGES:
        return group(header, app=celery)
    images = sorted({work.image for work in units})
    body = advance_signature(runtime, job_id, priority, images, stage)
    return chord(header, body, app=celery)


def advance_signature(
    runtime: Runtime,
    job_id: str,
    priority: Priority,
    images: Sequence[int] | None = None,
    stage: Stage | None = None,
) -> Signature:
    """The control worker's task after units of *stage*, or the one that looks at what is there."""
    return celery.signature(
        _BODIES[stage] if stage else ADVANCE,
        kwargs={"job_id": job_id, "images": images},
        immutable=True,
        options=route(runtime.settings, Stage.MERGE, "", priority),
    )


def _advance_image(
    runtime: Runtime, job_id: str, plan: RenderPlan, image: int, *, watched: Watched, note: Note
) -> bool:
    """Whether the picture is there then; *note* is told of each unit that was done."""
    store = runtime.store
    if _is_long_list(plan, image) and waits_for_workers(
        plan, image, lambda work: store.exists(work.key(plan))
    ):
        return False
    keys = present_keys(store, plan, image)
    while missing := next_of_image(plan, image, keys):
        work = missing[0]
        if work.stage in WORKER_STAGES:
            return False
        try:
            with watched(Step.of(plan, work)):
                if work.stage is Stage.MERGE:
                    merge_phase(store, plan, image, work.phase)
                else:
                    assemble_picture(store, plan, image)
            keys.add(work.key(plan))
            note(work)
        except UNREADABLE as err:
            # What has to be rendered again for it, the dispatcher finds missing.
            mend(store, plan, work, err)
            if not runtime.ledger.may_mend(job_id, unit_name(plan, work)):
                raise
            keys = present_keys(store, plan, image)
    return True


def _is_long_list(plan: RenderPlan, image: int) -> bool:
    """Whether listing the image's blobs takes longer than asking for one of each group."""
    sizes = [len(group) for group in image_work(plan, image)]
    return sum(sizes) > _MANY * len(sizes)


def _finish(
    runtime: Runtime, job_id: str, plan: RenderPlan, *, is_cached: bool = False
) -> Manifest | None:
    """The job's result, unless its pictures are being removed: they are made again then."""
    if is_being_removed(runtime.store, plan.hash):
        return None
    request = runtime.ledger.request(job_id)
    parent = request.rerender.job_id if request.rerender else None
    runs = read_runs(runtime.store, plan)
    manifest = manifest_of(runtime.store, plan, job_id, runs, cached=is_cached, parent=parent)
    metrics.job_finished(is_cached=is_cached)
    if not is_cached:
        metrics.rounds_waited(round_latencies(plan, runs))
    return runtime.ledger.finish(manifest)


def _by_node(units: Sequence[Work], nodes: Sequence[str]) -> list[tuple[str, list[Work]]]:
    if not nodes:
        return [("", list(units))]
    found: dict[str, list[Work]] = {}
    for work, node in zip(units, nodes, strict=True):
        found.setdefault(node, []).append(work)
    return list(found.items())


def _message(
    runtime: Runtime, job_id: str, plan: RenderPlan, carried: Sequence[Work], attempt: int
) -> dict[str, object]:
    work, *others = carried
    message = WorkMessage(
        job_id=job_id,
        plan_hash=plan.hash,
        stage=work.stage,
        image=work.image,
        phase=work.phase,
        index=work.index,
        more=[other.index for other in others],
        together=runtime.settings.tile_batch if others else MOST_TOGETHER,
        attempt=attempt,
    )
    return message.model_dump(mode="json", exclude_defaults=True)


def _told(job_id: str, carried: Sequence[Work]) -> str:
    """What a worker's events, and so Flower, tell of a message.

    Celery would put the whole of it beside itself, and into an event once more.
    """
    first, *others = carried
    return f"{job_id}: {first.label}" + (f" and {len(others)} more" if others else "")


def _check_inputs(runtime: Runtime, request: RenderRequest) -> None:
    inputs = {"init_image": request.init_image, "mask": request.mask}
    inputs |= {f"regions.{n}.mask": region.mask for n, region in enumerate(request.regions)}
    for field, key in inputs.items():
        if key is not None and not runtime.store.exists(key):
            raise InvalidRequestError(
                f"{field} must be the key of an uploaded picture, got {key!r}"
            )
