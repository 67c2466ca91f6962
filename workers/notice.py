"""The notice that this process's machine is taken away."""

from __future__ import annotations

import signal

from celery.worker import state

from app.own_node import OwnNode
from app.settings import Settings


def heed_spot_notice(chosen: Settings, node: OwnNode) -> None:
    """Leave when ``spot_signal`` comes: take no more work, give the running unit back.

    Only in the main thread, which alone may set signal handlers. The signal that Celery prints
    stacks on is taken over.
    """
    if chosen.spot_signal == "none":
        return

    def leave(*_: object) -> None:
        node.leave("spot notice")
        state.should_stop = 0  # type: ignore[assignment]  # an exit code; the stubs know None only

    signal.signal(getattr(signal, f"SIG{chosen.spot_signal}"), leave)
