"""Who is there to do a job's work, by the nodes that show themselves."""

from __future__ import annotations

from app.bootstrap import Runtime
from app.domain.errors import ConfigurationError, TransientError
from app.domain.plan import RenderPlan
from app.domain.spec import Priority
from app.domain.work import Stage, stage_model
from app.nodes import read_nodes
from app.queues import control_pool, pool_of, route, with_bigger


def attendance(runtime: Runtime) -> dict[str, int]:
    """Living workers of every pool; a worker of two pools counts in both.

    Raises ``BrokerUnavailableError`` when the board does not answer.
    """
    nodes = read_nodes(runtime.board, runtime.settings.heartbeat_s)
    return {pool: sum(node.serves(pool) for node in nodes) for pool in runtime.settings.pools}


def absence(runtime: Runtime, plan: RenderPlan | None, stage: Stage | None) -> str:
    """Why nobody can work for a job: *plan* is ``None`` until it has one, *stage* is its next.

    Empty when somebody can, and when that cannot be told.
    """
    try:
        alive = attendance(runtime)
        if not alive[control_pool(runtime.settings)]:
            return "no control worker is alive: nothing is planned or given out"
        if plan is None or stage is None:
            return ""
        pool = _pool(runtime, plan, stage)
        if any(alive.get(each) for each in with_bigger(runtime.settings, pool)):
            return ""
    except (ConfigurationError, TransientError):
        return ""
    return f"no worker of pool {pool} is alive: its work waits for one"


def _pool(runtime: Runtime, plan: RenderPlan, stage: Stage) -> str:
    """The pool that *stage* of the plan is bound to."""
    options = route(runtime.settings, stage, stage_model(plan, stage), Priority.NORMAL)
    return pool_of(str(options["routing_key"]))
