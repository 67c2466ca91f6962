"""Place in line and time left of an open job, as the dispatcher told last."""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from app.domain.errors import BrokerUnavailableError
from app.live.port import LiveBoard, Record
from app.schemas import Schedule


def read_schedule(board: LiveBoard, job_id: str) -> Schedule | None:
    """``None`` when no dispatcher has told, or when the job is not open."""
    return read_schedules(board).get(job_id)


def read_schedules(board: LiveBoard) -> dict[str, Schedule]:
    """Of all open jobs by id; none where no dispatcher has told, or one that is newer."""
    found = {}
    try:
        for job_id, record in board.shown("schedule").items():
            with suppress(ValidationError):
                found[job_id] = _read(record)
    except BrokerUnavailableError:
        return {}
    return found


def _read(record: Record) -> Schedule:
    told, age_s = Schedule.model_validate(record), float(str(record.get("age_s") or 0.0))
    if told.eta_s is None:
        return told
    return told.model_copy(update={"eta_s": round(max(0.0, told.eta_s - age_s), 1)})
