"""What a Celery worker starts for its operator: metrics endpoint, counters, logging.

Celery imports this module in every worker (``imports`` in ``celeryconfig``). All hooks are
signals of the worker's main process: the threads pool never sends ``worker_process_init``.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Task
from celery.signals import (
    celeryd_init,
    setup_logging,
    task_failure,
    task_prerun,
    task_retry,
    worker_ready,
)
from prometheus_client import start_http_server

from app import __version__
from app.domain.spec import Priority
from app.queues import pool_of, queue_name
from app.settings import Settings, settings
from app.telemetry import logs, metrics

log = logging.getLogger(__name__)

_PRIORITIES = {priority.level: str(priority) for priority in Priority}


def serve_metrics(chosen: Settings) -> int | None:
    """Serve this process's metrics; the port, or ``None`` when there is nothing to serve.

    A port that is taken is reported and not fatal: rendering matters more, and Prometheus
    shows the target as down.
    """
    if not chosen.metrics_port:
        return None
    address = {"host": chosen.metrics_host, "port": chosen.metrics_port}
    try:
        start_http_server(chosen.metrics_port, addr=chosen.metrics_host)
    except OSError as err:
        log.error("metrics.unavailable", extra=address | {"reason": err.strerror})
        return None
    log.info("metrics.served", extra=address)
    return chosen.metrics_port


@worker_ready.connect
def _announce(sender: Any, **_: object) -> None:
    metrics.WORKER_INFO.labels(str(sender.hostname), __version__).set(1)
    serve_metrics(settings())


@celeryd_init.connect
def _name_logs(sender: str, **_: object) -> None:
    logs.set_worker(sender)


@setup_logging.connect
def _set_up_logs(loglevel: int, **_: object) -> None:
    logs.set_up_logging(loglevel, settings().log_format)


@task_prerun.connect
def _observe_wait(task: Task[..., Any], **_: object) -> None:
    """A retry is left out: most of its wait is on purpose, and in the worker."""
    request = task.request
    sent_at = getattr(request, "sent_at", None)
    delivery = request.delivery_info
    if sent_at is None or request.retries or delivery is None:
        return
    pool = pool_of(str(delivery["routing_key"]))
    priority = _PRIORITIES.get(delivery["priority"] or 0, "other")
    metrics.waited_in_queue(queue_name(pool), priority, time.time() - sent_at)


@task_retry.connect
def _count_retry(sender: Task[..., Any], reason: object, **_: object) -> None:
    error = getattr(reason, "exc", reason)  # Celery wraps what was raised in its Retry
    if isinstance(error, BaseException):
        metrics.work_retried(metrics.stage_of(sender.name), error)


@task_failure.connect
def _count_failure(sender: Task[..., Any], exception: BaseException, **_: object) -> None:
    """Control tasks fail by raising; rendering ones return, and count where they do."""
    metrics.work_failed(metrics.stage_of(sender.name), exception)
