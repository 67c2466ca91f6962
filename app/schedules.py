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
    if not record:
        return None
    told, age_s = Schedule.model_validate(record), float(str(record.get("age_s") or 0.0))
    if told.eta_s is None:
        return told
    return told.model_copy(update={"eta_s": round(max(0.0, told.eta_s - age_s), 1)})
