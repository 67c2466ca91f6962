"""The Celery application; ``celery -A app`` finds it here."""

from __future__ import annotations

import importlib.util
import math
import time
from pathlib import Path
from types import ModuleType
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

    def on_configure(self) -> None:  # type: ignore[override]  # its stubs know the signal alone
        """Celery calls this when its configuration is first asked for."""
        self.config_from_object(_configuration())

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


_OWN_TASKS = ("app.", "workers.")


def _configuration() -> ModuleType:
    """``celeryconfig.py`` beside this package: by name, a client's own would be found first."""
    path = Path(__file__).parents[1] / "celeryconfig.py"
    spec = importlib.util.spec_from_file_location("tilechord_celeryconfig", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# A client may have an application of its own, which stays the one of its shared tasks.
celery = Application("tilechord", set_as_current=False)


@celeryd_init.connect
def _retry_results_without_end(instance: Any, conf: Settings, **_: object) -> None:
    """In a worker: a chord whose size or part cannot be stored would hang."""
    if instance.app is not celery:  # a client's own: signals are those of the whole process
        return
    unbounded = {"max_retries": None, "timeout": None}
    conf.result_backend_transport_options = {"retry_policy": unbounded}
    conf.result_backend_max_retries = math.inf


@before_task_publish.connect
def _date_message(
    sender: str, headers: dict[str, object], properties: dict[str, object], **_: object
) -> None:
    """For the time in queue; RabbitMQ itself tells the date of the message that is next."""
    if not sender.startswith(_OWN_TASKS):
        return
    headers["sent_at"] = time.time()
    properties["timestamp"] = int(time.time())
