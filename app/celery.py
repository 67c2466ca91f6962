"""The Celery application; ``celery -A app`` finds it here."""

from __future__ import annotations

import math
import time
from typing import Any

from celery import Celery
from celery.app.utils import Settings
from celery.signals import before_task_publish, celeryd_init
from kombu import Connection

from app.sending import SecureSendingTransport, SendingTransport
from app.settings import settings


class Application(Celery):
    """Listens for as long as it takes, and publishes within a time limit.

    A broker under a memory alarm takes what is published and never confirms it. A worker's
    consumer may be idle for hours, so only connections that publish have the limit.
    """

    def connection_for_write(self, url: str | None = None, **options: Any) -> Connection:
        chosen = settings()
        if chosen.is_embedded:
            return super().connection_for_write(url, **options)
        limits = dict.fromkeys(("read_timeout", "write_timeout"), chosen.broker_timeout_s)
        limits |= options.pop("transport_options", None) or {}
        is_secure = (url or chosen.broker_url.get_secret_value()).startswith("amqps:")
        transport = SecureSendingTransport if is_secure else SendingTransport
        options = options | {"transport": transport, "transport_options": limits}
        return super().connection_for_write(url, **options)


celery = Application("tilechord")
celery.config_from_object("celeryconfig")


@celeryd_init.connect
def _retry_results_without_end(conf: Settings, **_: object) -> None:
    """In a worker: a chord whose size or part cannot be stored would hang."""
    unbounded = {"max_retries": None, "timeout": None}
    conf.result_backend_transport_options = {"retry_policy": unbounded}
    conf.result_backend_max_retries = math.inf


@before_task_publish.connect
def _date_message(headers: dict[str, object], properties: dict[str, object], **_: object) -> None:
    """For the time in queue; RabbitMQ itself tells the date of the message that is next."""
    headers["sent_at"] = time.time()
    properties["timestamp"] = int(time.time())
