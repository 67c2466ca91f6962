"""Steps that may cost a worker its life: who took them up again, and who did not come back.

Nothing is written for a first delivery. A worker that takes up a step somebody had before leaves
a record of itself and removes it when it is through, however it went. What stays is the record of
a worker that is still at it, or dead.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Self

from app.domain.errors import BrokerUnavailableError, TransientError
from app.domain.plan import RenderPlan, canonical_json
from app.domain.work import Work, unit_name
from app.live.port import LiveBoard
from app.nodes import LOST_AFTER_BEATS, NODES
from app.settings import Settings
from app.storage.port import BlobStore

log = logging.getLogger(__name__)


def incarnation() -> str:
    """This process's own name among all that ever ran; its successor has another."""
    return _name_of(os.getpid())


@cache
def _name_of(_pid: int) -> str:  # by process: a forked child is somebody else
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Step:
    """What a worker may die of: a unit of a plan, or what a control worker does for a job."""

    scope: str
    """The plan's hash; the job's id for what is done before there is a plan."""
    name: str
    label: str
    """What a person calls it."""
    image: int | None = None
    """``None`` for what concerns the whole job."""

    @classmethod
    def of(cls, plan: RenderPlan, work: Work) -> Step:
        return cls(plan.hash, unit_name(plan, work), work.label, work.image)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Reads and writes the records of steps that were taken up again."""

    store: BlobStore
    board: LiveBoard
    heartbeat_s: float
    max_deaths: int
    me: str
    clock: Callable[[], float] = time.monotonic
    _kept: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, store: BlobStore, board: LiveBoard) -> Self:
        """This process's attempts, as *settings* bound them."""
        beat_s, most = settings.heartbeat_s, settings.max_worker_deaths
        return cls(store, board, beat_s, max_deaths=most, me=incarnation())

    @contextmanager
    def recorded(self, steps: Sequence[Step]) -> Iterator[None]:
        """Leave this worker's record of *steps* for as long as the block runs."""
        with ExitStack() as stack:
            for step in steps:
                key = f"{attempts_prefix(step.scope, step.name)}{self.me}"
                stack.callback(self._remove, key)  # also where only the store's answer is lost
                self._kept.discard(key)  # once more, and wanted
                self.store.put(key, b"")
            yield

    def tidy(self) -> None:
        """Remove records that an outage kept: they would count once this worker is restarted."""
        for key in list(self._kept):
            self._remove(key)

    def condemn(
        self, job_id: str, step: Step, wait: Callable[[float], None], now_s: Callable[[], float]
    ) -> str | None:
        """Why nobody takes up *step* any more, which is recorded; ``None`` while somebody may."""
        deaths = self.deaths(step, wait)
        if deaths < self.max_deaths:
            return None
        reason = f"quarantined, {deaths} workers died of it"
        self.quarantine(job_id, step, reason, now_s())
        return reason

    def deaths(self, step: Step, wait: Callable[[float], None]) -> int:
        """How many workers died of *step*, as far as the board can tell.

        Only when their records reach the limit is it worth the three heartbeats that it takes
        to be sure: meanwhile each must show itself, or is dead.
        """
        prefix = attempts_prefix(step.scope, step.name)
        suspects = {key.removeprefix(prefix) for key in self.store.keys(prefix)} - {self.me}
        if len(suspects) < self.max_deaths:
            return 0
        return len(suspects - self._seen_alive(suspects, wait))

    def quarantine(self, job_id: str, step: Step, reason: str, now_s: float) -> None:
        """Record that nobody takes *step* up again until a person says so."""
        dead = DeadUnit(job_id, step.scope, step.name, step.label, reason, round(now_s, 3))
        Quarantine(self.store).put(dead)

    def _seen_alive(self, suspects: set[str], wait: Callable[[float], None]) -> set[str]:
        """Those of *suspects* that cannot be called dead.

        All of them when the board does not answer, or does not even show this worker.
        """
        began_s, seen = self.clock(), set[str]()
        while len(suspects - seen) >= self.max_deaths:
            elapsed_s = self.clock() - began_s
            if elapsed_s > LOST_AFTER_BEATS * self.heartbeat_s:
                return seen if self.me in seen else suspects
            wait(self.heartbeat_s / 4)
            try:
                shown = self.board.shown(NODES)
            except BrokerUnavailableError:
                return suspects
            # A record that is older than this look may be what a dead worker left.
            since_s = self.clock() - began_s
            seen |= {str(r.get("incarnation")) for r in shown.values() if _age_s(r) < since_s}
        return seen

    def _remove(self, key: str) -> None:
        try:
            self.store.delete(key)
        except TransientError as err:  # counts only if this worker ends before it is tidied
            self._kept.add(key)
            log.info("attempt.kept", extra={"key": key, "reason": str(err)})
        else:
            self._kept.discard(key)


@dataclass(frozen=True, slots=True)
class DeadUnit:
    """A step that no worker takes up any more, until a person says so."""

    job_id: str
    plan_hash: str
    """Of its plan; the job's id where there was none."""
    unit: str
    label: str
    reason: str
    at_s: float
    """When, in seconds since the epoch."""


class Quarantine:
    """The records of dead units: ``dead/<job>/<unit>.json``."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def put(self, unit: DeadUnit) -> None:
        """Record *unit*; the first record of it counts."""
        self._store.put(_dead_key(unit.job_id, unit.unit), canonical_json(asdict(unit)))

    def all(self) -> list[DeadUnit]:
        """Every dead unit, oldest first."""
        units = [DeadUnit(**json.loads(self._store.get(key))) for key in self._store.keys("dead/")]
        return sorted(units, key=lambda unit: unit.at_s)

    def remove(self, unit: DeadUnit) -> None:
        """Take *unit* off the list."""
        self._store.delete(_dead_key(unit.job_id, unit.unit))

    def forget(self, attempts: str) -> None:
        """Remove the records of who died, all those under the prefix *attempts*."""
        for key in list(self._store.keys(attempts)):
            self._store.delete(key)


def attempts_prefix(scope: str, name: str) -> str:
    """Where the records of those who took a step up again are."""
    return f"attempts/{scope}/{name}/"


def _dead_key(job_id: str, unit: str) -> str:
    return f"dead/{job_id}/{unit}.json"


def _age_s(record: dict[str, object]) -> float:
    age_s = record["age_s"]
    assert isinstance(age_s, (int, float)), "the board dates every record"
    return float(age_s)
