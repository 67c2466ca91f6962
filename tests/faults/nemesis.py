"""What a fault is: something with a name that hurts, and heals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from app.bootstrap import Runtime, build_runtime
from tests.faults.ends import end_of
from tests.faults.fleet import Fleet
from tests.faults.ground import Ground
from tests.faults.history import History


class MissedError(Exception):
    """There was nothing to hurt; the fault does not count."""


@dataclass
class Field:
    """Everything that can be hurt, and the undisturbed view of it."""

    ground: Ground
    fleet: Fleet
    history: History
    _ended: set[str] = field(default_factory=set)

    @cached_property
    def runtime(self) -> Runtime:
        """Store, ledger and board past all proxies."""
        return build_runtime(self.ground.direct_settings())

    @property
    def renderers(self) -> list[str]:
        return [name for name, node in self.fleet.nodes.items() if node.pool != "control"]

    @property
    def controls(self) -> list[str]:
        return [name for name, node in self.fleet.nodes.items() if node.pool == "control"]

    def open_jobs(self) -> list[str]:
        """Jobs without an end; one that was seen to have ended is not looked at again."""
        ledger = self.runtime.ledger
        unknown = [job_id for job_id in ledger.job_ids() if job_id not in self._ended]
        self._ended |= {job_id for job_id in unknown if end_of(ledger, job_id)}
        return [job_id for job_id in unknown if job_id not in self._ended]


class Nemesis(ABC):
    """One class of faults. ``heal`` returns when what was hurt works again."""

    name = ""
    subject = ""
    """What it hurts; no two faults hurt the same subject at once. Empty: nothing lasting."""
    hold_s = (0.0, 0.0)
    """How long it lasts before it is healed, at least and at most."""

    def __init__(self, field: Field) -> None:
        self.field = field

    @abstractmethod
    def inject(self, rng: Random) -> dict[str, object]:
        """Hurt, and tell what; raises ``MissedError`` when there was nothing to hurt."""

    def heal(self) -> None:  # noqa: B027
        """Make whole; also right when ``inject`` failed half-way."""
