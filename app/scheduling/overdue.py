"""Units that somebody should have answered for by now, and those a second run would save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.prediction import Estimate
from app.domain.scheduling.stragglers import Running, stragglers
from app.domain.work import Work
from app.nodes import NodeRecord, NodeState
from app.scheduling.forecast import Forecast
from app.scheduling.job import Flight, OpenJob

_BEATS = 3
"""A unit that no queue and no node has for so many heartbeats was lost on the way."""
_BLIND_S = 60.0
_BLIND_TIMES = 20
"""Where queue and nodes say nothing about a unit, only far too long a time tells."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the dispatcher sees of the cluster at one moment."""

    nodes: Sequence[NodeRecord]
    ready: Mapping[str, int]
    """Messages waiting, by pool, or by node in the node's own queue."""
    now_s: float
    heartbeat_s: float

    def free(self, pool: str) -> list[NodeRecord]:
        """Nodes of *pool* that take work and have none."""
        return [node for node in self.alive(pool) if node.current is None and _takes_work(node)]

    def serving(self, flight: Flight) -> list[NodeRecord]:
        """Nodes that will come to the unit where it waits."""
        nodes = [node for node in self.alive(flight.pool) if _takes_work(node)]
        return [node for node in nodes if node.node == flight.node] if flight.node else nodes

    def alive(self, pool: str) -> list[NodeRecord]:
        return [node for node in self.nodes if node.serves(pool)]


def lost_units(job: OpenJob, sight: Sight) -> Iterator[Work]:
    """Sent units of *job* whose node fell silent, or whose message is nowhere."""
    holders = _holders(job, sight.nodes)
    for work, flight in list(job.flying.items()):
        nodes = holders.get(work, [])
        if any(not node.is_lost for node in nodes):
            flight.unseen_since_s = None
        elif any(flight.sent_s < sight.now_s - node.age_s for node in nodes):
            yield work  # silent since after it was sent: it was this node's last work
        elif flight.node and sight.nodes and not sight.serving(flight):
            yield work  # in the queue of a node that is lost, has gone or takes no work
        elif _is_nowhere(flight, sight):
            yield work


def late_units(
    jobs: Sequence[OpenJob], pool: str, sight: Sight, forecast: Forecast
) -> list[tuple[OpenJob, Work]]:
    """Units of *pool* that end too late, or that a worker without work would end sooner.

    To be asked when nothing else is ready to be sent to the pool.
    """
    idle = sight.free(pool)
    if sight.ready.get(pool) or not idle:
        return []

    def on_idle(run: Running[tuple[OpenJob, Work]]) -> Estimate:
        job, work = run.unit
        # By experience alone: against a guess every long unit would be late.
        estimates = [forecast.experience(job.plan, work, node.node, node.device) for node in idle]
        return min(estimates, key=lambda estimate: estimate.mean_s)

    running = list(_running(jobs, pool, sight, forecast))
    # A model that is loaded first takes seconds that no prediction knows of.
    return stragglers(running, on_idle, len(idle), least_s=_BEATS * sight.heartbeat_s)


def _running(
    jobs: Sequence[OpenJob], pool: str, sight: Sight, forecast: Forecast
) -> Iterator[Running[tuple[OpenJob, Work]]]:
    """First runs of units of *pool*; those of a batch share its time."""
    for job in jobs:
        for work, nodes in _holders(job, sight.alive(pool)).items():
            flight = job.flying.get(work)
            if flight is None or flight.pool != pool or flight.attempt:
                continue
            for node in nodes:
                is_known = forecast.knows(job.plan, work, node.node)
                expected = forecast.on_node(job.plan, work, node.node) if is_known else None
                elapsed_s = node.current.elapsed_s_each if node.current else 0.0
                expected_s = expected.mean_s if expected else None
                yield Running((job, work), elapsed_s, expected_s)


def _is_nowhere(flight: Flight, sight: Sight) -> bool:
    """Whether the unit has been in no queue and with no node for too long."""
    long_s = _BLIND_S + _BLIND_TIMES * flight.seconds
    if sight.ready.get(flight.lane):
        flight.unseen_since_s = None
        # Others are served all the time, and this one should have been long ago.
        is_served = bool(sight.serving(flight))
        return is_served and sight.now_s - flight.sent_s > long_s
    if flight.unseen_since_s is None:
        flight.unseen_since_s = sight.now_s
    limit_s = _BEATS * sight.heartbeat_s if sight.nodes else long_s
    return sight.now_s - flight.unseen_since_s > limit_s


def _takes_work(node: NodeRecord) -> bool:
    return node.state is NodeState.READY


def _holders(job: OpenJob, nodes: Sequence[NodeRecord]) -> dict[Work, list[NodeRecord]]:
    """Which nodes say that they render which unit of *job*."""
    holders: dict[Work, list[NodeRecord]] = {}
    for node in nodes:
        if node.current is not None and node.current.job_id == job.entry.job_id:
            for work in node.current.works:
                holders.setdefault(work, []).append(node)
    return holders
