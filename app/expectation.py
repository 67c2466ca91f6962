"""When a job that is ordered now will be served, as far as this installation can tell."""

from __future__ import annotations

from dataclasses import dataclass

from app.admission import paints_base, pool_for
from app.bootstrap import Runtime
from app.domain.errors import BrokerUnavailableError, RenderError
from app.domain.work import Stage
from app.planning import plan_request
from app.scheduling.duration import finish_s
from app.scheduling.forecast import read_predictor
from app.schemas import RenderRequest
from app.telemetry.pools import PoolRecord, read_pools


@dataclass(frozen=True, slots=True)
class Expectation:
    """Seconds from now, as if all that waits now were served before; ``None`` is not known."""

    begin_s: float | None
    """Until a worker takes the job's first unit."""
    finish_s: float | None
    """Until its pictures are there."""


def expect(runtime: Runtime, request: RenderRequest) -> Expectation:
    """What to expect of *request*. One look at the live board; no upload is read."""
    settings = runtime.settings
    try:
        shown = {} if settings.is_embedded else read_pools(runtime.board)
    except BrokerUnavailableError:
        shown = {}
    first = Stage.BASE if paints_base(runtime, request) else Stage.PREPARE
    stages = (first, Stage.TILE, Stage.CORE)
    begun, *others = (shown.get(pool_for(settings, request, stage)) for stage in stages)
    if begun is None:
        return Expectation(None, None)
    # Pools are predicted one by one: a job that needs several waits for each in its turn.
    is_one = all(other is begun for other in others)
    return Expectation(begun.waiting_s, _finish_s(runtime, request, begun) if is_one else None)


def _finish_s(runtime: Runtime, request: RenderRequest, shown: PoolRecord) -> float | None:
    """Not known either of a plan that only workers can make, for their models, or from uploads."""
    if not shown.crew:
        return None
    try:
        plan = plan_request(request, runtime.catalogue, runtime.settings)
        predictor = read_predictor(runtime.store)
    except RenderError:
        return None
    return finish_s(plan, predictor, shown.crew, ahead_s=shown.pending_s)
