"""Is there a broker to talk to? Asked before anything is sent."""

from __future__ import annotations

from app.domain.errors import ConfigurationError
from app.queues import check_broker, check_results
from app.settings import settings


def require_broker(wish: str) -> str:
    """The broker's version.

    Raises ``ConfigurationError`` when no broker is set to do *wish* with, the error of
    ``check_broker`` or ``check_results`` when it cannot be used: Celery itself would try for
    five seconds before it says so.
    """
    if settings().is_embedded:
        raise ConfigurationError(
            f"{wish} needs a broker: set TILECHORD_BROKER_URL or pass --env-file"
        )
    version = check_broker(settings())
    check_results(settings())
    return version
