"""Which pool serves the units of a job, and whether somebody lives there who could take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.admission import memory_gb
from app.bootstrap import Runtime
from app.domain.errors import ConfigurationError
from app.domain.scheduling.placement import Need, fits
from app.domain.work import Stage, stage_model
from app.node_queues import strategy_of
from app.nodes import NodeRecord
from app.queues import with_bigger
from app.scheduling.job import OpenJob
from app.scheduling.line import Line
from app.scheduling.publishing import Publisher


class Reach:
    """Answers by the nodes that were seen last."""

    def __init__(self, runtime: Runtime, publisher: Publisher, line: Line) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._line = line
        self._pools: dict[tuple[Stage, str], str] = {}
        self._memory_gb: dict[str, float] = {}
        self._nodes: Sequence[NodeRecord] = ()
        self._with_room: dict[tuple[str, str], str] = {}

    @property
    def nodes(self) -> Sequence[NodeRecord]:
        return self._nodes

    def see(self, nodes: Sequence[NodeRecord]) -> None:
        """Answer by *nodes* from now on."""
        self._nodes = nodes
        self._with_room.clear()

    def served(self, job: OpenJob, stage: Stage) -> str:
        """The pool that serves *stage* of the job now: a bigger one where its own cannot.

        Empty when no pool is bound to it: the job ends here.
        """
        own = self._own(job, stage)
        return own and self.pool_with_room(own, stage_model(job.plan, stage))

    def pool_for(self, job: OpenJob) -> str:
        """The pool that works for the job now, or will."""
        flown = (flight.pool for flight in job.flying.values())
        ready = (self.served(job, stage) for stage in job.ready_stages())
        return next(flown, "") or next(ready, "") or self.served(job, Stage.TILE)

    def may_serve(self, pool: str, job: OpenJob, stage: Stage) -> bool:
        """Whether units are sent there; a worker that has one may serve other pools too."""
        return pool in with_bigger(self._runtime.settings, self._own(job, stage))

    def pool_at(self, node: NodeRecord, job: OpenJob, stage: Stage) -> str:
        """The one of the node's pools from which it has a unit of the job."""
        pools = (pool for pool in node.pools if self.may_serve(pool, job, stage))
        return next(pools, node.pools[0])

    def pool_with_room(self, pool: str, model: str) -> str:
        """*pool*, or the first bigger one that can hold *model*, which no node of *pool* can.

        Where workers choose themselves, one that lacks the memory moves the unit on.
        """
        # Asked for every job in every round, and nodes may be hundreds.
        if (pool, model) not in self._with_room:
            self._with_room[pool, model] = self._find_room(pool, model)
        return self._with_room[pool, model]

    def _find_room(self, pool: str, model: str) -> str:
        for candidate in with_bigger(self._runtime.settings, pool):
            is_empty = not any(node.serves(candidate) for node in self.nodes)
            if is_empty or self.is_reachable(candidate, model):
                return candidate
        return pool

    def is_reachable(self, pool: str, model: str) -> bool:
        """Whether a living node of *pool* may get what needs *model*.

        It must have the memory where it is chosen; from a shared queue any of them tries.
        """
        members = [node for node in self.nodes if node.serves(pool)]
        chosen = [node for node in members if node.queue]
        if not chosen or not strategy_of(self._runtime.settings, pool).names_node:
            return bool(members)
        need = Need(model, self.need_gb(model), 0.0, "")
        return any(fits(node.placed(), need) for node in chosen)

    def is_served(self, job: OpenJob) -> bool:
        """Whether a worker could take some unit of the job, or it waits for none."""
        if job.entry.is_paused or job.control_since or job.is_complete:
            return True
        return any(
            self.is_reachable(pool, stage_model(job.plan, stage))
            for pool, stage in self._asked(job)
        )

    def need_gb(self, model: str) -> float:
        """Memory that *model* takes, as its card says."""
        if model not in self._memory_gb:
            self._memory_gb[model] = memory_gb(self._runtime, model)
        return self._memory_gb[model]

    def _asked(self, job: OpenJob) -> Iterator[tuple[str, Stage]]:
        """Where units of the job are, or would be sent, and of which stages they are."""
        yield from {(flight.pool, work.stage) for work, flight in job.flying.items()}
        yield from ((self.served(job, stage), stage) for stage in job.ready_stages())

    def _own(self, job: OpenJob, stage: Stage) -> str:
        """The pool that *stage* of the job is bound to; the job ends here when there is none."""
        key = stage, stage_model(job.plan, stage)
        try:
            if key not in self._pools:
                self._pools[key] = self._publisher.pool_of(job.plan, stage)
        except ConfigurationError as err:
            self._line.end(job.entry.job_id, err)
            return ""
        return self._pools[key]
