"""The work that waits for each pool, as the dispatcher shows it on the live board."""

from __future__ import annotations

from app.live.port import LiveBoard

POOLS = "pools"


def pending_seconds(board: LiveBoard) -> dict[str, float]:
    """Predicted seconds of work on one worker, by pool; none while no dispatcher shows any.

    Raises ``BrokerUnavailableError``.
    """
    found = {name: record.get("pending_s") for name, record in board.shown(POOLS).items()}
    return {
        name: float(seconds)
        for name, seconds in found.items()
        if isinstance(seconds, int | float) and seconds >= 0
    }
