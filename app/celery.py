"""The Celery application; ``celery -A app`` finds it here."""

from __future__ import annotations

import math

from celery import Celery
from celery.app.utils import Settings
from celery.signals import celeryd_init

celery = Celery("tilechord")
celery.config_from_object("celeryconfig")


@celeryd_init.connect
def _retry_results_without_end(conf: Settings, **_: object) -> None:
    """In a worker: a chord whose size or part cannot be stored would hang."""
    unbounded = {"max_retries": None, "timeout": None}
    conf.result_backend_transport_options = {"retry_policy": unbounded}
    conf.result_backend_max_retries = math.inf


@celeryd_init.connect
def _wait_for_messages_without_end(conf: Settings, **_: object) -> None:
    """In a worker: its connection also receives, and may be idle for hours."""
    options = dict(conf.broker_transport_options)
    options.pop("read_timeout", None)
    options.pop("write_timeout", None)
    conf.broker_transport_options = options
