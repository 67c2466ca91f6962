"""Place in line and time left of an open job, as the dispatcher told last."""

from __future__ import annotations

from app.domain.errors import BrokerUnavailableError
from app.live.port import LiveBoard
from app.schemas import Schedule


def read_schedule(board: LiveBoard, job_id: str) -> Schedule | None:
    """``None`` when no dispatcher has told, or when the job is not open."""
    try:
        record = board.shown("schedule").get(job_id)
    except BrokerUnavailableError:
        return None
    return Schedule.model_validate(record) if record else None
