"""The Celery tasks of a rendering worker: doorbells, one per stage."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Reject
from pydantic import ValidationError

from app.ahead import own_ahead
from app.bootstrap import runtime
from app.celery import celery
from app.delivery import hand_back, is_redelivered, pass_on
from app.domain.errors import BrokerUnavailableError, TransientError, reason_of
from app.domain.work import Outcome, Stage
from app.heartbeat import own_node
from app.patience import WorkerStoppingError
from app.queues import pool_of, to_pool, translated_send_errors
from app.schemas import WorkMessage
from app.settings import settings
from app.workflow import WORKER_TASKS
from workers.bootstrap import own_executor
from workers.errand import BusyError, Delivery

log = logging.getLogger(__name__)


@celery.task(bind=True, name=WORKER_TASKS[Stage.BASE])
def base(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Render the base picture of one image."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.PREPARE])
def prepare(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Enlarge the base to the canvas and encode it."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.TILE])
def tile(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Denoise one tile."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.HEAD])
def head(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Decode as far as the whole canvas has to be seen."""
    return _execute(self, message)


@celery.task(bind=True, name=WORKER_TASKS[Stage.CORE])
def core(self: Task[..., Any], *, message: dict[str, Any]) -> dict[str, str]:
    """Decode, restore and super-resolve one core."""
    return _execute(self, message)


def _execute(task: Task[..., Any], payload: dict[str, Any]) -> dict[str, str]:
    """Run the units; whatever goes wrong for good is recorded, so that the job ends with it."""
    try:
        message = WorkMessage.model_validate(payload)
    except ValidationError as err:
        raise Reject(f"no message of a unit: {err}", requeue=False) from err
    with own_node().working(message):
        outcome = _outcome(task, message)
    status = outcome["status"]
    if status != Outcome.RENDERED:  # those the executor tells, with what they cost
        own_node().tell_message(
            message, Outcome.FAILED if status == Outcome.QUARANTINED else status
        )
    if status == Outcome.MOVED:
        _move(task)
    if status == Outcome.QUARANTINED:
        _bury(task, outcome)
    return outcome


def _outcome(task: Task[..., Any], message: WorkMessage) -> dict[str, str]:
    try:
        return _executed(task, message)
    except BusyError as err:
        pass_on(task, err, settings())
    except WorkerStoppingError as err:  # somebody else has more time
        if settings().is_embedded:
            raise
        raise Reject(str(err), requeue=True) from err
    except TransientError as err:  # nothing can be read or recorded now: somebody will later
        if not settings().is_embedded:
            hand_back(task, err, settings())
        _fail(message, err)  # there is nobody else, and its client waits here
    return {"key": "", "status": Outcome.FAILED}


def _executed(task: Task[..., Any], message: WorkMessage) -> dict[str, str]:
    try:
        return own_executor().execute(message, _delivery(task, message))
    except (TransientError, WorkerStoppingError, BusyError):
        raise
    except Exception as err:  # a bug in one unit must not leave its job waiting for ever
        fields = {"job_id": message.job_id, "work": message.work.label}
        log.exception("work.crashed", extra=fields)
        _fail(message, err)
    return {"key": "", "status": Outcome.FAILED}


def _fail(message: WorkMessage, error: Exception) -> None:
    """Let the job end with *error*, also where the error is that there is no executor."""
    try:
        executor = own_executor()
    except Exception:
        runtime().ledger.fail(message.job_id, f"{message.work.label}: {reason_of(error)}")
    else:
        executor.fail(message, error)


def _delivery(task: Task[..., Any], message: WorkMessage) -> Delivery:
    info = task.request.delivery_info or {}
    return Delivery(
        worker=str(task.request.hostname),
        is_again=is_redelivered(task) or message.attempt > 0,
        bigger_pool=settings().bigger_pool.get(_pool(info)),
        ask_next=own_ahead().asker(),
        can_pass_on=not (settings().is_embedded or is_redelivered(task)),
    )


def _move(task: Task[..., Any]) -> NoReturn:
    """Send the message to the bigger pool in this task's place: its chord waits for it there.

    As one that somebody had: of its units some may be done.
    """
    info = task.request.delivery_info or {}
    pool = _pool(info)
    bigger = settings().bigger_pool[pool]
    sent = {"routing_key": info["routing_key"], "priority": info.get("priority") or 0}
    message = {"attempt": 1} | (task.request.kwargs or {})["message"]
    moved = task.signature(kwargs={"message": message}, immutable=True).set(**to_pool(sent, bigger))
    log.info("work.moved", extra={"pool": pool, "bigger_pool": bigger})
    try:
        with translated_send_errors(settings()):
            raise task.replace(moved)  # it raises itself, once the message is sent
    except BrokerUnavailableError as err:
        raise Reject(str(err), requeue=True) from err


def _bury(task: Task[..., Any], outcome: dict[str, str]) -> NoReturn:
    """Send the message to the dead letters, counted as one that its slice need not wait for."""
    task.backend.mark_as_done(str(task.request.id), outcome, request=task.request)
    raise Reject("too many workers died of it", requeue=False)


def _pool(info: Mapping[str, Any]) -> str:
    return pool_of(str(info.get("routing_key")))
