"""Units that somebody should have answered for by now, and those a second run would save."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.scheduling.stragglers import Running, stragglers
from app.domain.work import Work
from app.nodes import NodeRecord, NodeState
from app.scheduling.job import Flight, OpenJob

_BEATS = 3
"""A unit that no queue and no node has for so many heartbeats was lost on the way."""
_BLIND_S = 60.0
_BLIND_TIMES = 20
"""Without a board no node is seen: then only far too long a time tells."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the dispatcher sees of the cluster at one moment."""

    nodes: Sequence[NodeRecord]
    ready: Mapping[str, int]
    """Messages waiting, by pool."""
    now_s: float
    heartbeat_s: float


def lost_units(job: OpenJob, sight: Sight) -> Iterator[Work]:
    """Sent units of *job* whose node fell silent, or whose message is nowhere."""
    holders = _holders(job, sight.nodes)
    for work, flight in list(job.flying.items()):
        nodes = holders.get(work, [])
        if any(not node.is_lost for node in nodes):
            flight.unseen_since_s = None
        elif any(flight.sent_s < sight.now_s - node.age_s for node in nodes):
            yield work  # silent since after it was sent: it was this node's last work
        elif _is_nowhere(flight, sight):
            yield work


def late_units(
    jobs: Sequence[OpenJob],
    pool: str,
    sight: Sight,
    predicted: Callable[[OpenJob, Work], tuple[float, float]],
) -> list[tuple[OpenJob, Work]]:
    """Units of *pool* that take far too long while workers have nothing else to do."""
    if sight.ready[pool] or any(job.ready_units for job in jobs):
        return []
    alive = [node for node in sight.nodes if pool in node.pools and not node.is_lost]
    idle = sum(node.current is None and node.state is NodeState.READY for node in alive)
    running = [
        Running((job, work), node.node, node.current.elapsed_s if node.current else 0.0)
        for job in jobs
        for work, nodes in _holders(job, alive).items()
        if work in job.flying and job.flying[work].pool == pool and not job.flying[work].attempt
        for node in nodes
    ]
    return stragglers(running, lambda run: predicted(*run.unit), idle)


def _is_nowhere(flight: Flight, sight: Sight) -> bool:
    """Whether the unit has been in no queue and with no node for too long."""
    if sight.ready[flight.pool]:
        flight.unseen_since_s = None
        return False
    if flight.unseen_since_s is None:
        flight.unseen_since_s = sight.now_s
    limit_s = _BEATS * sight.heartbeat_s
    if not sight.nodes:
        limit_s = _BLIND_S + _BLIND_TIMES * flight.seconds
    return sight.now_s - flight.unseen_since_s > limit_s


def _holders(job: OpenJob, nodes: Sequence[NodeRecord]) -> dict[Work, list[NodeRecord]]:
    """Which nodes say that they render which unit of *job*."""
    holders: dict[Work, list[NodeRecord]] = {}
    for node in nodes:
        unit = node.current
        if unit is not None and unit.job_id == job.entry.job_id:
            work = Work(unit.stage, unit.image, unit.phase, unit.index)
            holders.setdefault(work, []).append(node)
    return holders
