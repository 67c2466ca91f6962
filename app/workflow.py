"""What happens next in a job: one function of the plan and the blobs that exist.

Tasks are named, not imported: clients and the control worker have no torch.
"""

from __future__ import annotations

from celery import chord, signature
from celery.canvas import Signature

from app.bootstrap import Runtime
from app.domain.errors import InvalidRequestError, RenderCancelledError, RenderFailedError
from app.domain.plan import RenderPlan
from app.domain.spec import Priority
from app.domain.work import WORKER_STAGES, Stage, Work, next_work
from app.jobs import present_keys
from app.merging import assemble_picture, merge_phase, write_manifest
from app.planning import plan_request
from app.queues import route
from app.schemas import Manifest, RenderRequest, WorkMessage

ADVANCE = "app.tasks.advance"
MERGE = "app.tasks.merge"
FINISH = "app.tasks.finish"
WORKER_TASKS = {stage: f"workers.tasks.{stage}" for stage in WORKER_STAGES}
_BODIES = {Stage.TILE: MERGE, Stage.CORE: FINISH}


def start(runtime: Runtime, job_id: str, request: RenderRequest) -> Signature | Manifest:
    """Plan the job, record it, and say what happens next."""
    _check_inputs(runtime, request)
    plan = plan_request(request, runtime.catalogue, runtime.settings, runtime.store.get)
    runtime.ledger.accept(job_id, request, plan)
    is_cached = not next_work(plan, present_keys(runtime.store, plan))
    return advance(runtime, job_id, is_cached=is_cached)


def advance(runtime: Runtime, job_id: str, *, is_cached: bool = False) -> Signature | Manifest:
    """Do what this process can do; then the chord of what workers must do, or the result.

    May run twice at any time: it compares the plan with the blobs and remembers nothing.
    Raises ``RenderFailedError`` or ``RenderCancelledError`` when the job has ended so.
    """
    ledger, store = runtime.ledger, runtime.store
    if ledger.has_result(job_id):
        return ledger.result(job_id)
    plan, request = ledger.plan(job_id), ledger.request(job_id)
    while missing := next_work(plan, present_keys(store, plan)):
        _raise_if_ended(runtime, job_id)
        match missing[0].stage:
            case Stage.MERGE:
                for work in missing:
                    merge_phase(store, plan, work.image, work.phase)
            case Stage.PICTURE:
                for work in missing:
                    assemble_picture(store, plan, work.image)
            case _:
                return stage_chord(runtime, job_id, plan, missing, Priority(request.priority))
    parent = request.rerender.job_id if request.rerender else None
    manifest = write_manifest(store, plan, job_id, cached=is_cached, parent=parent)
    return ledger.finish(manifest)


def stage_chord(
    runtime: Runtime, job_id: str, plan: RenderPlan, missing: tuple[Work, ...], priority: Priority
) -> Signature:
    """One task per missing unit, then the callback that goes on from there.

    The callback is immutable and carries the job id alone: Celery copies it into every member.
    """
    stage = missing[0].stage
    model = plan.spec.base_model if stage is Stage.BASE else plan.spec.refine_model
    options = route(runtime.settings, stage, model, priority)
    header = [
        signature(
            WORKER_TASKS[stage],
            kwargs={"message": _message(job_id, plan, work)},
            options=dict(options),
        )
        for work in missing
    ]
    body = signature(
        _BODIES.get(stage, ADVANCE),
        kwargs={"job_id": job_id},
        immutable=True,
        options=route(runtime.settings, Stage.MERGE, model, priority),
    )
    return chord(header, body)


def _message(job_id: str, plan: RenderPlan, work: Work) -> dict[str, object]:
    message = WorkMessage(
        job_id=job_id,
        plan_hash=plan.hash,
        stage=work.stage,
        image=work.image,
        phase=work.phase,
        index=work.index,
    )
    return message.model_dump(mode="json")


def _raise_if_ended(runtime: Runtime, job_id: str) -> None:
    if (reason := runtime.ledger.failure(job_id)) is not None:
        raise RenderFailedError(reason)
    if runtime.ledger.is_cancelled(job_id):
        raise RenderCancelledError(f"job {job_id} was cancelled")


def _check_inputs(runtime: Runtime, request: RenderRequest) -> None:
    inputs = {"init_image": request.init_image, "mask": request.mask}
    inputs |= {f"regions.{n}.mask": region.mask for n, region in enumerate(request.regions)}
    for field, key in inputs.items():
        if key is not None and not runtime.store.exists(key):
            raise InvalidRequestError(
                f"{field} must be the key of an uploaded picture, got {key!r}"
            )
