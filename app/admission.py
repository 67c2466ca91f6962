"""Whether a job is taken, asked where it is submitted; what is not known refuses nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from app.bootstrap import Runtime
from app.domain.errors import AdmissionError, ModelError, TransientError
from app.domain.scheduling.admission import Demand, Limits, Load, admit
from app.domain.scheduling.placement import Need, Node
from app.domain.spec import Mode, Priority
from app.domain.work import Stage
from app.live.port import Record
from app.nodes import NodeRecord, NodeState, read_nodes
from app.planning import choose_mode
from app.queues import pool_of, route, with_bigger
from app.schemas import RenderRequest
from app.settings import Settings

log = logging.getLogger(__name__)


def check_admission(runtime: Runtime, request: RenderRequest) -> None:
    """Raises ``AdmissionError`` when the job would find no worker, or no room in the line."""
    settings = runtime.settings
    if settings.is_embedded:  # its one worker is the asking process itself
        return
    demands, pool = list(_demands(runtime, request)), _pool(settings, request, Stage.TILE)
    refusal = admit(demands, _load(runtime, request.tenant, pool), _limits(settings))
    if refusal is not None:
        raise AdmissionError(refusal.sentence, refusal.reason, may_pass=refusal.reason.may_pass)


def _demands(runtime: Runtime, request: RenderRequest) -> Iterator[Demand]:
    """What the job asks of nodes: each model of the pool that its stage goes to."""
    alive = _alive(runtime)
    for stage in _stages(runtime, request):
        pools = with_bigger(runtime.settings, _pool(runtime.settings, request, stage))
        model = _model(runtime.settings, request, stage)
        need = Need(model, memory_gb=memory_gb(runtime, model), seconds=0.0, unit_id="")
        yield Demand(
            need, [[_node(node) for node in alive if pool in node.pools] for pool in pools]
        )


def _stages(runtime: Runtime, request: RenderRequest) -> list[Stage]:
    """Those of the job's two models; without a base picture there is but one."""
    return [Stage.BASE, Stage.TILE] if _paints_base(runtime, request) else [Stage.TILE]


def _paints_base(runtime: Runtime, request: RenderRequest) -> bool:
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


def _pool(settings: Settings, request: RenderRequest, stage: Stage) -> str:
    """The pool that *stage* of the job goes to."""
    model = _model(settings, request, stage)
    return pool_of(route(settings, stage, model, Priority.NORMAL)["routing_key"])


def _load(runtime: Runtime, tenant: str, pool: str) -> Load:
    entries = runtime.entries.all() if _counts_jobs(runtime.settings) else []
    pools = _shown(runtime, "pools")
    return Load(
        open_jobs=len(entries),
        tenant_jobs=sum(entry.tenant == tenant for entry in entries),
        pending_s=float(str(pools.get(pool, {}).get("pending_s", 0.0))),
    )


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


def _alive(runtime: Runtime) -> list[NodeRecord]:
    try:
        nodes = read_nodes(runtime.board, runtime.settings.heartbeat_s)
    except TransientError:
        return []
    return [node for node in nodes if not node.is_lost and node.state is not NodeState.DRAINING]


def _node(record: NodeRecord) -> Node:
    return Node(
        name=record.node,
        memory_gb=record.memory_gb or None,
        models=frozenset(record.models),
        weight=record.weight,
        backlog_s=0.0,
        in_flight=0,
        is_ready=True,
    )


def _shown(runtime: Runtime, topic: str) -> dict[str, Record]:
    try:
        return runtime.board.shown(topic)
    except TransientError as err:
        log.info("board.silent", extra={"reason": str(err)})
        return {}
