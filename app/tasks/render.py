"""The task a client sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task
from celery.result import AsyncResult

from app import workflow
from app.bootstrap import runtime
from app.celery import celery
from app.domain.errors import ConfigurationError, InvalidRequestError
from app.domain.spec import Priority
from app.embedded import is_worker_running
from app.queues import route_key, translated_send_errors
from app.schemas import read_request
from app.settings import settings
from app.tasks.base import RETRIES, settle


class RenderTask(Task[..., Any]):
    """Checks a request where it is sent, so that a mistake is told at once and costs nothing."""

    def apply_async(  # type: ignore[override]  # options pass through unseen
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a render. Raises ``InvalidRequestError`` or ``BrokerUnavailableError``."""
        request = read_request(_only_request(args or (), kwargs or {}))
        chosen = settings()
        if chosen.is_embedded and not is_worker_running():
            raise ConfigurationError(
                "TILECHORD_BROKER_URL is not set and no worker runs in this process; "
                "set it, or render inside `with app.embedded.worker():`"
            )
        payload = request.model_dump(mode="json", exclude_unset=True)
        route = route_key(chosen, "plan.default", Priority(request.priority))
        with translated_send_errors(chosen):
            return super().apply_async(args=(payload,), **(route | options))


def _only_request(args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    given = [*args, *kwargs.values()]
    if len(given) != 1 or kwargs.keys() - {"request"}:
        raise InvalidRequestError(f"render takes one request, got {len(given)} arguments")
    return given[0]


@celery.task(bind=True, base=RenderTask, name="app.tasks.render", **RETRIES)
def render(self: Task[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    """Render *request*; the result is a manifest (:class:`app.schemas.Manifest`)."""
    job_id = str(self.request.id)
    return settle(self, job_id, lambda: workflow.start(runtime(), job_id, read_request(request)))
