"""Whose units are next: class and wait of a job, its tenant's share, its deadline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.domain.errors import ConfigurationError
from app.domain.spec import Priority

_LEVELS = sorted(priority.level for priority in Priority)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job with units that nobody renders yet; times by the clock of who ordered, in seconds."""

    job_id: str
    tenant: str
    priority: Priority
    accepted_s: float
    deadline_s: float | None = None
    waited_s: float = 0.0
    """Without being served until now, by the clock of who serves: others may be wrong."""


def aged_level(waiting: Waiting, ageing_s: float) -> int:
    """The job's level, one class up for every *ageing_s* it waited; 0 never ages."""
    own = _LEVELS.index(waiting.priority.level)
    if ageing_s <= 0:
        return _LEVELS[own]
    highest = len(_LEVELS) - 1
    return _LEVELS[int(min(own + waiting.waited_s // ageing_s, highest))]


class Shares:
    """What each tenant was served, by its weight: start-time fair queueing (Goyal et al. 1996).

    A tenant's virtual time grows by its seconds of service over its weight, and the smallest is
    served next. Nobody saves up: whoever comes back starts where those who stayed have come to.
    One for every pool: what is served elsewhere keeps nobody waiting here.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for tenant, weight in weights.items():
            if not 0 < weight < math.inf:
                raise ConfigurationError(f"weight of tenant {tenant} must be > 0, got {weight:g}")
        self._weights = dict(weights)
        self._virtual: dict[str, float] = {}
        self._active: frozenset[str] = frozenset()
        self._floor = 0.0

    @property
    def remembered(self) -> frozenset[str]:
        """Tenants whose virtual time is kept."""
        return frozenset(self._virtual)

    def charge(self, tenant: str, seconds: float) -> None:
        """Account *seconds* of service."""
        weight = self._weights.get(tenant, 1.0)
        self._virtual[tenant] = self.virtual(tenant) + seconds / weight

    def virtual(self, tenant: str) -> float:
        """The tenant's virtual time; one never seen starts where service is."""
        return self._virtual.get(tenant, self._floor)

    def activate(self, tenants: Iterable[str]) -> None:
        """Say who has work; whoever had none before is raised to the least of those who had."""
        tenants = frozenset(tenants)
        stayed = [self.virtual(tenant) for tenant in tenants & self._active]
        if stayed:
            self._floor = max(self._floor, min(stayed))
        elif tenants:  # all were idle: nobody waited, so nobody is owed anything
            self._floor = max([self._floor, *self._virtual.values()])
        for tenant in tenants - self._active:
            self._virtual[tenant] = max(self.virtual(tenant), self._floor)
        self._active = tenants
        self._forget()

    def _forget(self) -> None:
        """Drop who is idle and owes nothing: it would come back at the same place."""
        self._virtual = {
            tenant: virtual
            for tenant, virtual in self._virtual.items()
            if tenant in self._active or virtual > self._floor
        }


def in_order(waiting: Sequence[Waiting], shares: Shares, ageing_s: float) -> list[Waiting]:
    """*waiting*, first the one to be served: class, tenant's share, deadline, acceptance."""

    def place(job: Waiting) -> tuple[float, float, float, float, str]:
        return (
            -aged_level(job, ageing_s),
            shares.virtual(job.tenant),
            _due_s(job, ageing_s),
            job.accepted_s,
            job.job_id,
        )

    return sorted(waiting, key=place)


def _due_s(job: Waiting, ageing_s: float) -> float:
    """Its deadline; without one, when a job that nobody serves has long been in the highest class.

    Otherwise a stream of jobs with deadlines would keep back one without for ever.
    """
    if job.deadline_s is not None:
        return job.deadline_s
    return job.accepted_s + len(_LEVELS) * ageing_s if ageing_s > 0 else math.inf
