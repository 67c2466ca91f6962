"""Whether a job is taken, asked where it is submitted; what is not known refuses nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from app.bootstrap import Runtime
from app.cards import Kind
from app.domain.errors import AdmissionError, ModelError, TransientError
from app.domain.scheduling.admission import Demand, Limits, Load, Reason, Refusal, admit
from app.domain.scheduling.placement import Need, Part
from app.domain.spec import Mode, Priority
from app.domain.work import Stage
from app.nodes import NodeRecord, NodeState, read_nodes
from app.planning import NO_CONTROL, choose_mode
from app.queues import pool_of, route, with_bigger
from app.schedules import read_schedules
from app.schemas import RenderRequest
from app.settings import Settings
from app.telemetry.pools import PoolRecord, read_pools

log = logging.getLogger(__name__)


def check_admission(runtime: Runtime, request: RenderRequest, job_id: str | None = None) -> None:
    """Raises ``AdmissionError`` when the job would find no worker, or no room in the line.

    *job_id*: the one that the order was given, if any. A job that was taken before is refused
    nothing when it is ordered again: it is still one job.
    """
    settings = runtime.settings
    if settings.is_embedded:  # its one worker is the asking process itself
        return
    jobs = runtime.entries.all() if _counts_jobs(settings) else []
    shown = _shown(runtime, pool_for(settings, request, Stage.TILE))
    mine = [job for job in jobs if job.tenant == request.tenant]
    load = Load(len(jobs), len(mine), shown.pending_s if shown else 0.0)
    refusal = admit(_demands(runtime, request), load, _limits(settings))
    if refusal is None or _is_taken(runtime, job_id):
        return
    counted = mine if refusal.reason is Reason.TENANT_QUOTA else jobs
    retry_s = _retry_s(runtime, refusal, [job.job_id for job in counted], shown)
    hint = "" if retry_s is None else f"; try again in about {max(1, math.ceil(retry_s))} s"
    raise AdmissionError(
        f"{refusal.sentence}{hint}",
        refusal.reason,
        may_pass=refusal.reason.may_pass,
        retry_s=retry_s,
    )


def _is_taken(runtime: Runtime, job_id: str | None) -> bool:
    """Whether the job stands in line, or has ended and is only told its end again."""
    if job_id is None or not runtime.ledger.has_request(job_id):
        return False
    # The line first: a job leaves it when its end is recorded.
    return runtime.entries.find(job_id) is not None or runtime.ledger.has_ended(job_id)


def _retry_s(
    runtime: Runtime, refusal: Refusal, job_ids: Sequence[str], shown: PoolRecord | None
) -> float | None:
    """Seconds until the same order may be taken, as the dispatcher predicts."""
    if refusal.seconds_before is not None and shown is not None and shown.workers:
        return refusal.seconds_before / shown.workers
    if refusal.jobs_before is None:
        return None
    told = read_schedules(runtime.board)
    etas_s = (told[job_id].eta_s for job_id in job_ids if job_id in told)
    ends_s = sorted(eta_s for eta_s in etas_s if eta_s is not None)
    return ends_s[refusal.jobs_before - 1] if refusal.jobs_before <= len(ends_s) else None


def _demands(runtime: Runtime, request: RenderRequest) -> Iterator[Demand]:
    """What the job asks of nodes: each model of the pool that its stage goes to."""
    alive = _alive(runtime)
    for stage in _stages(runtime, request):
        pools = with_bigger(runtime.settings, pool_for(runtime.settings, request, stage))
        crews = {pool: [node for node in alive if pool in node.pools] for pool in pools}
        model = _model(runtime.settings, request, stage)
        asked_gb = memory_gb(runtime, model) or _told_gb(chain(*crews.values()), model)
        yield Demand(
            Need(model, memory_gb=asked_gb, seconds=0.0, unit_id=""),
            {pool: [node.placed() for node in crew] for pool, crew in crews.items()},
            [Part(Kind.MODEL, model), *_extras(request, stage)],
        )


def _extras(request: RenderRequest, stage: Stage) -> Iterator[Part]:
    """What *request* names beside models. A model's own control network is left to the planner."""
    for lora in request.loras:
        yield Part(Kind.LORA, lora.name)
    if stage is Stage.TILE and request.models.control not in (None, NO_CONTROL):
        yield Part(Kind.CONTROL, str(request.models.control))


def _stages(runtime: Runtime, request: RenderRequest) -> list[Stage]:
    """Those of the job's two models; without a base picture there is but one."""
    return [Stage.BASE, Stage.TILE] if paints_base(runtime, request) else [Stage.TILE]


def paints_base(runtime: Runtime, request: RenderRequest) -> bool:
    """Whether a picture is painted first, or may be: a client need not have the model's card."""
    if request.init_image is not None or request.rerender is not None:
        return False
    try:
        card = runtime.catalogue.card(_model(runtime.settings, request, Stage.TILE))
    except ModelError:
        return request.mode in ("auto", Mode.REFINE)
    return choose_mode(request, card)[0] is Mode.REFINE


def _model(settings: Settings, request: RenderRequest, stage: Stage) -> str:
    base, tiles = request.stage_models(settings.model)
    return base if stage is Stage.BASE else tiles


def pool_for(settings: Settings, request: RenderRequest, stage: Stage) -> str:
    """The pool that *stage* of the job goes to."""
    model = _model(settings, request, stage)
    return pool_of(route(settings, stage, model, Priority.NORMAL)["routing_key"])


def _counts_jobs(settings: Settings) -> bool:
    return bool(settings.max_open_jobs or settings.max_open_jobs_per_tenant)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_open_jobs, settings.max_open_jobs_per_tenant, settings.max_pending_s)


def memory_gb(runtime: Runtime, model: str) -> float:
    """What the model's card says; a client need not have the models it asks for."""
    try:
        return runtime.catalogue.card(model).memory_gb
    except ModelError:
        return 0.0


def _told_gb(nodes: Iterable[NodeRecord], model: str) -> float:
    """What the least demanding of the nodes' own cards of *model* asks for; 0 is not known."""
    told = (node.installed.get(Kind.MODEL, {}).get(model, 0.0) for node in nodes)
    return min(filter(None, told), default=0.0)


def _alive(runtime: Runtime) -> list[NodeRecord]:
    try:
        nodes = read_nodes(runtime.board, runtime.settings.heartbeat_s)
    except TransientError:
        return []
    return [node for node in nodes if not node.is_lost and node.state is not NodeState.DRAINING]


def _shown(runtime: Runtime, pool: str) -> PoolRecord | None:
    """What waits for *pool*; asked only where there is a limit to it."""
    if not runtime.settings.max_pending_s:
        return None
    try:
        return read_pools(runtime.board).get(pool)
    except TransientError as err:
        log.info("board.silent", extra={"reason": str(err)})
        return None
