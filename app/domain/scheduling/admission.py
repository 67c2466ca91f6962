"""Whether a job is taken: what no worker can do or what is too much is refused at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from textwrap import shorten

from app.domain.scheduling.placement import Need, Node, Part, fits

_MOST_CHARS = 200
"""Of the names that a refusal lists."""


class Reason(StrEnum):
    """Why a job was refused, for programs."""

    QUEUE_FULL = "queue_full"
    TENANT_QUOTA = "tenant_quota"
    NO_WORKER_CAN_SERVE = "no_worker_can_serve"

    @property
    def may_pass(self) -> bool:
        """The same request may be taken later, with nothing changed but the queue."""
        return self is not Reason.NO_WORKER_CAN_SERVE


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code for programs and a sentence for people."""

    reason: Reason
    sentence: str
    jobs_before: int | None = None
    """How many of the counted jobs have to end before it is taken."""
    seconds_before: float | None = None
    """How much of the waiting work has to be done before it is taken, on one worker."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an installation takes on at once; 0 is no limit."""

    max_open_jobs: int = 0
    max_open_jobs_per_tenant: int = 0
    max_pending_s: float = 0.0
    """Predicted seconds of work that wait, above which nothing is added."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is going on when a job asks to be taken."""

    open_jobs: int
    tenant_jobs: int
    """Those of the asking tenant."""
    pending_s: float


@dataclass(frozen=True, slots=True)
class Demand:
    """One of the job's models, and who could serve it."""

    need: Need
    crews: Mapping[str, Sequence[Node]]
    """Live nodes of its pool, then of each bigger one; one that is paused comes back."""
    parts: Sequence[Part] = ()
    """What one node has to have in its folders, the model first."""


def admit(demands: Iterable[Demand], load: Load, limits: Limits) -> Refusal | None:
    """Why the job is refused, or ``None``.

    What can never be served is told first: trying again later would not help.
    """
    unserved = next(filter(None, map(_servable, demands)), None)
    return unserved or _within_quota(load, limits) or _within(load, limits)


def _servable(demand: Demand) -> Refusal | None:
    """An elastic pool starts from no node at all, so that is no reason."""
    if not all(demand.crews.values()):
        return None
    nodes = list(chain.from_iterable(demand.crews.values()))
    able = nodes
    for part in demand.parts:
        before, able = able, [node for node in able if node.may_have(part)]
        if not able:
            return Refusal(Reason.NO_WORKER_CAN_SERVE, _missing(demand, part, before))
    return None if any(fits(node, demand.need) for node in able) else _too_large(demand, able)


def _missing(demand: Demand, part: Part, asked: Sequence[Node]) -> str:
    """Why none of *asked*, who have the parts before it, can serve what needs *part*."""
    pools = f"pool{'s' if len(demand.crews) > 1 else ''} {', '.join(demand.crews)}"
    first = demand.parts[0]
    having = "" if part == first else f" with {first}"
    known = sorted(set().union(*(node.installed[part.kind] for node in asked))) or ["none"]
    told = shorten(", ".join(known), _MOST_CHARS, placeholder=" …")
    return (
        f"{part} is on none of {len(asked)} live workers of {pools}{having}; "
        f"known {part.kind}s there: {told}"
    )


def _too_large(demand: Demand, able: Sequence[Node]) -> Refusal:
    """*able* have the model, or do not tell."""
    need, largest = demand.need, max(node.memory_gb or 0.0 for node in able)
    is_all = len(able) == sum(map(len, demand.crews.values()))
    having = "" if is_all else " that have it"
    return Refusal(
        Reason.NO_WORKER_CAN_SERVE,
        f"model {need.model} needs {need.memory_gb:.3g} GB, "
        f"the largest of {len(able)} live workers{having} has {largest:.3g} GB",
    )


def _within_quota(load: Load, limits: Limits) -> Refusal | None:
    most = limits.max_open_jobs_per_tenant
    if not most or load.tenant_jobs < most:
        return None
    return Refusal(
        Reason.TENANT_QUOTA,
        f"a tenant may have {most} open jobs, this one has {load.tenant_jobs}",
        jobs_before=load.tenant_jobs - most + 1,
    )


def _within(load: Load, limits: Limits) -> Refusal | None:
    if limits.max_open_jobs and load.open_jobs >= limits.max_open_jobs:
        return Refusal(
            Reason.QUEUE_FULL,
            f"at most {limits.max_open_jobs} jobs may be open, there are {load.open_jobs}",
            jobs_before=load.open_jobs - limits.max_open_jobs + 1,
        )
    if limits.max_pending_s and load.pending_s >= limits.max_pending_s:
        return Refusal(
            Reason.QUEUE_FULL,
            f"at most {limits.max_pending_s:.0f} s of work may wait, "
            f"there are {load.pending_s:.0f} s",
            seconds_before=load.pending_s - limits.max_pending_s,
        )
    return None
