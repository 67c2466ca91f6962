"""Whether a job is taken, asked where it is submitted; what is not known refuses nothing."""

from __future__ import annotations

import logging

from app.bootstrap import Runtime
from app.domain.errors import AdmissionError, ModelError, TransientError
from app.domain.scheduling.admission import Limits, Load, admit
from app.domain.scheduling.placement import Need, Node
from app.domain.spec import Priority
from app.domain.work import Stage
from app.live.port import Record
from app.nodes import NodeRecord, NodeState, read_nodes
from app.queues import pool_of, route
from app.schemas import RenderRequest
from app.settings import Settings

log = logging.getLogger(__name__)


def check_admission(runtime: Runtime, request: RenderRequest) -> None:
    """Raises ``AdmissionError`` when the job would find no worker, or no room in the line."""
    settings = runtime.settings
    if settings.is_embedded:  # its one worker is the asking process itself
        return
    models = request.stage_models(settings.model)
    largest_gb, model = max((memory_gb(runtime, name), name) for name in models)
    pool = pool_of(route(settings, Stage.TILE, models[1], Priority.NORMAL)["routing_key"])
    need = Need(model, memory_gb=largest_gb, seconds=0.0, unit_id="")
    refusal = admit(need, _load(runtime, request.tenant, pool), _limits(settings))
    if refusal is not None:
        raise AdmissionError(refusal.sentence, refusal.reason, may_pass=refusal.reason.may_pass)


def _load(runtime: Runtime, tenant: str, pool: str) -> Load:
    entries = runtime.entries.all() if _counts_jobs(runtime.settings) else []
    pools = _shown(runtime, "pools")
    return Load(
        open_jobs=len(entries),
        tenant_jobs=sum(entry.tenant == tenant for entry in entries),
        pending_s=float(str(pools.get(pool, {}).get("pending_s", 0.0))),
        nodes=[_node(node) for node in _alive(runtime) if pool in node.pools],
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
