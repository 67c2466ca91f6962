"""The task a client sends."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task
from celery.result import AsyncResult

from app import workflow
from app.admission import check_admission
from app.bootstrap import runtime
from app.celery import celery
from app.domain.errors import ConfigurationError, InvalidRequestError, RenderError
from app.domain.spec import Priority
from app.embedded import is_worker_running
from app.orders import Order
from app.queues import connect, plan_route, translated_send_errors
from app.schemas import read_request
from app.settings import Settings, settings
from app.tasks.base import plan_job


class RenderTask(Task[..., Any]):
    """Checks and records a request where it is sent.

    A mistake is told at once and costs nothing. What is recorded before it is sent survives the
    loss of the broker: the store's line of jobs is what counts, the message only saves waiting.
    """

    def apply_async(  # type: ignore[override]  # options pass through unseen
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a render. Raises ``InvalidRequestError`` or ``BrokerUnavailableError``."""
        request = read_request(_only_request(args or (), kwargs or {}))
        if self.request.called_directly is False:  # a retry of the task itself, in a worker
            return super().apply_async(args, kwargs, **options)
        chosen = settings()
        if chosen.is_embedded and not is_worker_running():
            raise ConfigurationError(
                "TILECHORD_BROKER_URL is not set and no worker runs in this process; "
                "set it, or render inside `with app.embedded.worker():`"
            )
        given_id = options.pop("task_id", None)
        check_admission(runtime(), request, given_id)
        job_id = given_id or str(uuid.uuid4())
        _require_broker(chosen)
        payload = request.model_dump(mode="json", exclude_unset=True)
        route = plan_route(chosen, Priority(request.priority))
        order = Order(runtime(), job_id, request)
        try:
            order.enter()
            with translated_send_errors(chosen):
                return super().apply_async(args=(payload,), task_id=job_id, **(route | options))
        except RenderError:
            order.leave()
            raise


def _require_broker(chosen: Settings) -> None:
    """Nothing is recorded for a broker that is not there; a connection that exists costs nothing.

    Raises ``BrokerUnavailableError`` or ``ConfigurationError``.
    """
    with translated_send_errors(chosen), celery.producer_or_acquire() as producer:
        connect(producer.connection)


def _only_request(args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    given = [*args, *kwargs.values()]
    if len(given) != 1 or kwargs.keys() - {"request"}:
        raise InvalidRequestError(f"render takes one request, got {len(given)} arguments")
    return given[0]


@celery.task(bind=True, base=RenderTask, name=workflow.RENDER, track_started=True)
def render(self: Task[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    """Render *request*; the result is a manifest (:class:`app.schemas.Manifest`)."""
    job_id = str(self.request.id)
    manifest = plan_job(self, job_id, lambda: read_request(request))
    if manifest is not None:
        return manifest.model_dump(mode="json")
    # The job's end is this task's result; until then there is none to store.
    self.request.ignore_result = True
    return {"job_id": job_id}
