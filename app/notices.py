"""What all workers are told at once, over Celery's remote control: that a job is not wanted.

A notice is a hint to look at once. Who misses it finds out by looking, as the store tells.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from kombu.exceptions import KombuError

from app.celery import celery
from app.domain.errors import RenderError
from app.queues import translated_send_errors
from app.settings import Settings

log = logging.getLogger(__name__)
UNWANTED = "tilechord_unwanted"
"""The command's name: other applications of the virtual host get it too."""
_EXPIRES_S = 60.0
"""A worker that was away has looked by itself long since."""

_MOST_AT_ONCE = 8
_at_once = threading.BoundedSemaphore(_MOST_AT_ONCE)

_UNSENT = (RenderError, AMQPError, KombuError, MessageNacked, RuntimeError)

_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Call *listener* with the id of each job that this process is told of from now on."""
    _listeners.append(listener)


def take(job_id: str) -> None:
    """Pass on that *job_id* is not wanted."""
    for listener in _listeners:
        listener(job_id)


def send(settings: Settings, job_id: str) -> None:
    """Tell every worker that *job_id* is not wanted; nothing is raised where that fails."""
    if settings.is_embedded:  # its worker is in this process, and has no remote control
        take(job_id)
        return
    try:
        with translated_send_errors(settings):
            _publish({"job_id": job_id})
    except _UNSENT as err:  # who is told has only to wait less
        log.info("notice.unsent", extra={"job_id": job_id, "reason": str(err)})


def send_meanwhile(settings: Settings, job_id: str) -> None:
    """The same without waiting for the broker; nothing is sent where others still wait for it."""

    def send_and_leave() -> None:
        try:
            send(settings, job_id)
        finally:
            _at_once.release()

    if settings.is_embedded:
        take(job_id)
    elif _at_once.acquire(blocking=False):
        try:
            threading.Thread(target=send_and_leave, name="tilechord-telling", daemon=True).start()
        except RuntimeError as err:  # no more threads, or this process ends
            _at_once.release()
            log.info("notice.unsent", extra={"job_id": job_id, "reason": str(err)})


def _publish(arguments: Mapping[str, str]) -> None:
    """What ``celery.control.broadcast`` does; that one tries for ever where a broker is silent."""
    control: Any = celery.control  # its stubs do not know the mailbox
    mailbox = control.mailbox
    to_all = dict.fromkeys(("destination", "pattern", "matcher"))
    with celery.producer_or_acquire() as producer:
        producer.publish(
            {"method": UNWANTED, "arguments": arguments, **to_all},
            exchange=mailbox.exchange.name,
            declare=[mailbox.exchange],
            headers={"clock": mailbox.clock.forward(), "expires": time.time() + _EXPIRES_S},
            serializer="json",
            retry=True,
            retry_policy=celery.conf.task_publish_retry_policy,
        )
