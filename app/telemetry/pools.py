"""The work that waits for each pool, as the dispatcher shows it on the live board."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.live.port import LiveBoard

POOLS = "pools"


class PoolRecord(BaseModel):
    """One pool as the dispatcher showed it last; read tolerantly, it may be another version's."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    pending_s: Annotated[float, Field(ge=0)]
    """Predicted seconds of work that wait, on one worker."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Those alive."""
    crew: dict[str, Annotated[int, Field(ge=0)]] = {}
    """How many of them take work, by device."""
    open_jobs: Annotated[int, Field(ge=0)] = 0
    """Those in line, paused ones included."""
    oldest_s: Annotated[float, Field(ge=0)] = 0.0
    """Since the oldest of them that is not paused was accepted."""

    @property
    def waiting_s(self) -> float | None:
        """Predicted seconds until all that waits is served; not known without any worker."""
        return self.pending_s / self.workers if self.workers else None


def read_pools(board: LiveBoard) -> dict[str, PoolRecord]:
    """All pools by name, none while no dispatcher shows any; what cannot be read is left out.

    Raises ``BrokerUnavailableError``.
    """
    found = {}
    for name, record in board.shown(POOLS).items():
        try:
            found[name] = PoolRecord.model_validate(record)
        except ValidationError:
            continue
    return found


def pending_seconds(board: LiveBoard) -> dict[str, float]:
    """Predicted seconds of work on one worker, by pool. Raises ``BrokerUnavailableError``."""
    return {name: record.pending_s for name, record in read_pools(board).items()}
