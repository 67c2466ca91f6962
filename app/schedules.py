"""Place in line and time left of an open job, as the dispatcher told last."""

from __future__ import annotations

from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from app.domain.errors import BrokerUnavailableError
from app.live.port import LiveBoard, Record


class Schedule(BaseModel):
    """How an open job stands in line, as the dispatcher shows it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    position: int | None = None
    """Jobs that are served before it; ``None`` when all of its units are with workers."""
    eta_s: float | None = None
    """Predicted seconds until its result; ``None`` while no worker is alive."""
    deadline_ms: int | None = None
    """When the result is wanted, in milliseconds of the epoch."""
    pending_units: int = 0
    pending_s: float = 0.0
    state: str = "open"


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
