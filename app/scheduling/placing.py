"""Which node of a pool gets which unit, where the pool's strategy names one."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from app.bootstrap import Runtime
from app.domain.scheduling.placement import Need, Node, Placer
from app.domain.scheduling.slices import UNITS_A_WORKER
from app.domain.spec import Priority
from app.domain.work import Work, loaded_label, stage_model
from app.node_queues import strategy_of
from app.nodes import NodeRecord
from app.scheduling.forecast import Forecast
from app.scheduling.job import Flight, OpenJob
from app.scheduling.line import Line
from app.scheduling.reach import Reach


@dataclass(slots=True)
class Crew:
    """The nodes of one pool with what is before them, while units are placed."""

    placer: Placer
    nodes: dict[str, Node]
    most: int
    """Units that a node has at hand; more of them could not be placed otherwise any more."""

    @property
    def room(self) -> int:
        """Units that can be placed; none before some node has used up half of what it had.

        Every slice of tiles has a callback of its own, and one for each would double the messages.
        """
        ready = [node for node in self.nodes.values() if node.is_ready]
        if all(2 * node.in_flight > self.most for node in ready):
            return 0
        return sum(max(0, self.most - node.in_flight) for node in ready)

    def place(self, need: Need) -> str | None:
        """The node that gets the unit; ``None`` when it has to wait."""
        return self._place(need, list(self.nodes.values()), self.most)

    def place_again(self, need: Need, *, but: str, is_idle: bool = False) -> str | None:
        """The node that gets a unit which was not done in time, if possible not the one it had.

        It has waited already: a node that has enough gets it too, unless only an idle one helps.
        """
        nodes = [node for node in self.nodes.values() if not (is_idle and node.in_flight)]
        others = [node for node in nodes if node.name != but]
        return self._place(need, others, sys.maxsize) or self._place(need, nodes, sys.maxsize)

    def _place(self, need: Need, nodes: Sequence[Node], most: int) -> str | None:
        chosen = self.placer.place(need, nodes, most_in_flight=most)
        if chosen is None:
            return None
        warm = chosen.models | {need.model}
        self.nodes[chosen.name] = replace(chosen.given(need), models=warm)
        return chosen.name


class Placing:
    """Chooses nodes, pool by pool, by what the registry and the jobs' flights tell."""

    def __init__(self, runtime: Runtime, line: Line, forecast: Forecast, reach: Reach) -> None:
        self._runtime = runtime
        self._line = line
        self._forecast = forecast
        self._reach = reach
        self._placers: dict[str, Placer] = {}

    def crew(
        self,
        pool: str,
        *,
        unit_s: float = 1.0,
        level: Priority = Priority.LOW,
    ) -> Crew | None:
        """The nodes among which units of *pool* are placed, each of about *unit_s* seconds.

        What they have of a lower *level* counts for nothing: it is served after.
        ``None`` when its workers choose themselves, or none has a queue of its own.
        """
        strategy = strategy_of(self._runtime.settings, pool)
        members = [node for node in self._reach.nodes if node.serves(pool) and node.queue]
        if not strategy.names_node or not members:
            return None
        placer = self._placers.setdefault(
            pool, Placer(strategy, self._runtime.settings.steal_after_s)
        )
        flights = list(self._flights(level))
        known = {node.node: _node(node, flights) for node in members}
        most = math.ceil(self._runtime.settings.lookahead_s / max(unit_s, 1e-3))
        most = max(UNITS_A_WORKER, min(most, self._runtime.settings.slice_units))
        return Crew(placer, known, most)

    def need(self, job: OpenJob, work: Work) -> Need:
        """What *work* asks of a node."""
        model = loaded_label(job.plan, work.stage)
        behind_s = sum(
            other.ready_of([stage]) * self._forecast.unit(other.plan, other.first([stage])).mean_s
            for other in self._line
            for stage in other.ready_stages()
            if not other.entry.is_paused and loaded_label(other.plan, stage) == model
        )
        return Need(
            model,
            self._reach.need_gb(stage_model(job.plan, work.stage)),
            self._forecast.unit(job.plan, work).mean_s,
            work.key(job.plan),
            behind_s,
        )

    def _flights(self, level: Priority) -> Iterator[tuple[str, Flight]]:
        """Units of no lower *level* that were sent to nodes, each with its model."""
        for job in self._line:
            for work, flight in job.flying.items():
                if flight.node and flight.level.level >= level.level:
                    yield loaded_label(job.plan, work.stage), flight


def _node(record: NodeRecord, flights: Collection[tuple[str, Flight]]) -> Node:
    own = [(model, flight) for model, flight in flights if flight.node == record.node]
    # What it was sent is loaded before the next unit: otherwise all would load a model at once.
    coming = {model for model, _ in own}
    backlog_s = sum(flight.seconds for _, flight in own)
    return record.placed(coming, backlog_s=backlog_s, in_flight=len(own))
