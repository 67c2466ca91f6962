"""How a message came to its task, and how the task gives it back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Ignore, Reject

from app.domain.errors import RenderError
from app.patience import Patience, WorkerStoppingError, nothing
from app.queues import pool_of, queue_name, translated_send_errors
from app.settings import Settings

log = logging.getLogger(__name__)


def is_redelivered(task: Task[..., Any]) -> bool:
    """Whether a worker had the task's message before, and may have died of it."""
    return bool((task.request.delivery_info or {}).get("redelivered"))


def hand_back(task: Task[..., Any], error: Exception, chosen: Settings) -> NoReturn:
    """Put the task off until what *error* tells is over: a server that is away.

    After a wait, so that nobody runs in circles. A copy goes to the end of the queue in the
    message's place: one that is requeued was delivered once more, which brings a quorum queue to
    its limit, and looks as if somebody had died of it. Requeued it is all the same when the copy
    cannot be sent or the worker stops.
    """
    _give_away(task, error, chosen, pause=Patience.of(chosen).pause)


def pass_on(task: Task[..., Any], error: Exception, chosen: Settings) -> NoReturn:
    """Let another worker have the task at once: this one is busy for longer than it thought."""
    _give_away(task, error, chosen, pause=nothing)


def _give_away(
    task: Task[..., Any], error: Exception, chosen: Settings, *, pause: Callable[[], object]
) -> NoReturn:
    log.info("message.handed_back", extra={"task": task.name, "reason": str(error)})
    try:
        pause()
        _send_copy(task, chosen)
    except (RenderError, WorkerStoppingError) as err:
        raise Reject(str(err), requeue=True) from err
    raise Ignore(str(error))


def _send_copy(task: Task[..., Any], chosen: Settings) -> None:
    """Sent before this message is acknowledged: there may be two for a moment, but never none."""
    copy = task.signature_from_request(task.request)
    info = task.request.delivery_info or {}
    if info.get("exchange"):  # the publisher declares the pool's queue: nothing sent can vanish
        copy = copy.set(queue=queue_name(pool_of(str(info["routing_key"]))))
    with translated_send_errors(chosen):
        copy.apply_async()
