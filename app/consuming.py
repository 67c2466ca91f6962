"""How a worker takes messages, where Celery's own way would lose one."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

log = logging.getLogger(__name__)


class Consumer(CeleryConsumer):
    """Celery acknowledges what it cannot decode; here it goes to the dead letters."""

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        log.error(
            "message.undecodable",
            extra={"content_type": message.content_type, "reason": repr(exc)[:200]},
        )
        message.reject_log_error(log, self.connection_errors)  # type: ignore[attr-defined]
