"""The Celery application; ``celery -A app`` finds it here."""

from __future__ import annotations

import math
import time

from celery import Celery
from celery.app.utils import Settings
from celery.signals import before_task_publish, celeryd_init

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


@before_task_publish.connect
def _date_message(headers: dict[str, object], properties: dict[str, object], **_: object) -> None:
    """For the time in queue; RabbitMQ itself tells the date of the message that is next."""
    headers["sent_at"] = time.time()
    properties["timestamp"] = int(time.time())
