"""Units that somebody should have answered for by now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.spec import Priority
from app.domain.work import Work
from app.nodes import LOST_AFTER_BEATS, CurrentUnit, NodeRecord, NodeState
from app.scheduling.job import Flight, OpenJob

_BLIND_S = 60.0
_BLIND_TIMES = 20
"""Where queue and nodes say nothing about a unit, only far too long a time tells."""


class Served:
    """How far each queue has been served: of one level, what was sent first is taken first."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Priority], int] = {}

    def note(self, flight: Flight) -> None:
        """Note that a worker has taken the unit of *flight*."""
        if not flight.attempt:  # of one that was sent again, the first message may have been taken
            before = self._numbers.get((flight.lane, flight.level), 0)
            self._numbers[flight.lane, flight.level] = max(before, flight.number)

    def forget_lanes(self, alive: Collection[str]) -> None:
        """Know only the queues in *alive*: nodes are named anew with every start."""
        self._numbers = {key: number for key, number in self._numbers.items() if key[0] in alive}

    def is_past(self, flight: Flight) -> bool:
        """Whether something was taken that lay behind *flight*'s unit."""
        return 0 < flight.number < self._numbers.get((flight.lane, flight.level), 0)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the dispatcher sees of the cluster at one moment."""

    nodes: Sequence[NodeRecord]
    ready: Mapping[str, int]
    """Messages waiting, by pool, or by node in the node's own queue."""
    now_s: float
    heartbeat_s: float
    served: Served = field(default_factory=Served)

    def taking(self, pool: str) -> list[NodeRecord]:
        """Nodes of *pool* that take work."""
        return [node for node in self.alive(pool) if node.state is NodeState.READY]

    def serving(self, flight: Flight) -> list[NodeRecord]:
        """Nodes that will come to the unit where it waits."""
        nodes = self.taking(flight.pool)
        return [node for node in nodes if node.node == flight.node] if flight.node else nodes

    def alive(self, pool: str) -> list[NodeRecord]:
        return [node for node in self.nodes if node.serves(pool)]


def lost_units(job: OpenJob, sight: Sight) -> Iterator[Work]:
    """Sent units of *job* whose node fell silent, or whose message is nowhere."""
    holders = holders_of(job, sight.nodes)
    for work, flight in list(job.flying.items()):
        nodes = [node for node, _ in holders.get(work, [])]
        if any(not node.is_lost for node in nodes):
            flight.unseen_since_s = None
        elif any(flight.sent_s < sight.now_s - node.age_s for node in nodes):
            yield work  # silent since after it was sent: it was this node's last work
        elif flight.node and sight.nodes and not sight.serving(flight):
            yield work  # in the queue of a node that is lost, has gone or takes no work
        elif _is_nowhere(flight, sight):
            yield work


def _is_nowhere(flight: Flight, sight: Sight) -> bool:
    """Whether the unit has been in no queue and with no node for too long.

    A worker that froze before it took the message up shows nothing of it.
    """
    long_s = _BLIND_S + _BLIND_TIMES * flight.seconds
    if sight.ready.get(flight.lane) and not sight.served.is_past(flight):
        flight.unseen_since_s = None
        # Others are served all the time, and this one should have been long ago.
        is_served = bool(sight.serving(flight))
        return is_served and sight.now_s - flight.sent_s > long_s
    if flight.unseen_since_s is None:
        flight.unseen_since_s = sight.now_s
    limit_s = LOST_AFTER_BEATS * sight.heartbeat_s if sight.nodes else long_s
    return sight.now_s - flight.unseen_since_s > limit_s


def holders_of(
    job: OpenJob, nodes: Sequence[NodeRecord]
) -> dict[Work, list[tuple[NodeRecord, CurrentUnit]]]:
    """Which nodes say that they have which unit of *job*, in what they say they have."""
    holders: dict[Work, list[tuple[NodeRecord, CurrentUnit]]] = {}
    for node in nodes:
        for unit in node.at_hand_of(job.entry.job_id, job.plan.hash):
            for work in unit.works:
                holders.setdefault(work, []).append((node, unit))
    return holders
