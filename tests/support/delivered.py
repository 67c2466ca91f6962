"""As much of a Celery task as is needed to give its message back."""

from __future__ import annotations

from types import SimpleNamespace


class DeliveredTask:
    """A task whose copies are kept instead of sent."""

    name = "app.tasks.merge"

    def __init__(self, *, redelivered: bool = False) -> None:
        self.request = SimpleNamespace(
            delivery_info={
                "exchange": "render",
                "routing_key": "control.finish.default",
                "priority": 5,
                "redelivered": redelivered,
            },
        )
        self.sent: list[dict[str, object]] = []
        self.send_error: Exception | None = None

    def signature_from_request(self, request: SimpleNamespace) -> _Copy:
        return _Copy(self, dict(request.delivery_info))


class _Copy:
    def __init__(self, task: DeliveredTask, options: dict[str, object]) -> None:
        self._task = task
        self._options = options

    def set(self, **options: object) -> _Copy:
        return _Copy(self._task, self._options | options)

    def apply_async(self) -> None:
        if self._task.send_error:
            raise self._task.send_error
        self._task.sent.append(self._options)
