"""Running the autoscaler until a signal ends it."""

from __future__ import annotations

import logging
import signal
import threading

from app.autoscale import Autoscaler, worker_starter
from app.bootstrap import runtime
from app.cli.broker import require_broker
from app.domain.errors import InvalidRequestError
from app.domain.scaling import ScalingRule
from app.settings import settings
from app.telemetry.logs import set_up_logging

log = logging.getLogger(__name__)

_PERIOD_S = 1.0

__all__ = ["ScalingRule", "check", "run"]


def check(pool: str, minimum: int, maximum: int) -> None:
    """Raises ``InvalidRequestError`` or ``ConfigurationError`` for what cannot be kept."""
    if minimum > maximum:
        raise InvalidRequestError(f"--min must be at most --max, got {minimum} and {maximum}")
    known = settings().pools
    if pool not in known:
        raise InvalidRequestError(
            f"--pool must be one of TILECHORD_POOLS ({', '.join(known)}), got {pool!r}"
        )
    require_broker("autoscaling")


def run(pool: str, rule: ScalingRule, *, device: str | None, grace_s: float) -> None:
    """Keep workers until SIGTERM or Ctrl-C, then end them."""
    app, stop = runtime(), threading.Event()
    set_up_logging(logging.INFO, app.settings.log_format)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    start = worker_starter(pool, device)
    log.info("autoscale.ready", extra={"pool": pool, "min": rule.minimum, "max": rule.maximum})
    scaler = Autoscaler(app.board, pool, rule, start, heartbeat_s=app.settings.heartbeat_s)
    try:
        while not stop.wait(_PERIOD_S):
            scaler.look()
    finally:
        scaler.end(grace_s)
