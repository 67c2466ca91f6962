"""The registry of nodes: what every worker process shows of itself, and who is lost.

A record is shown again with every heartbeat, also while a unit is rendered. One that stays away
for three heartbeats is lost: killed, frozen or cut off, which from outside is the same.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from app.domain.scheduling.placement import Node
from app.domain.work import Stage, Work
from app.live.port import LiveBoard

NODES = "nodes"
NODE_TTL_S = 600.0
"""How long a lost node is still listed, for a person to see."""
LOST_AFTER_BEATS = 3
"""Heartbeats without a word of a node, or of a unit that no queue and no node has."""


class NodeState(StrEnum):
    READY = "ready"
    PAUSED = "paused"
    """Takes no work until its load falls; ``reason`` says what is too high."""
    DRAINING = "draining"
    """Finishes or hands back what it has, and ends."""


class CurrentUnit(BaseModel):
    """The unit that a node works on."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    job_id: str
    plan_hash: str
    stage: Stage
    image: int
    phase: int
    index: int
    elapsed_s: float
    more: list[int] = []
    """Further tiles that are denoised together with it."""

    @property
    def works(self) -> list[Work]:
        """All that the node works on."""
        indices = dict.fromkeys([self.index, *self.more])
        return [Work(self.stage, self.image, self.phase, index) for index in indices]

    @property
    def elapsed_s_each(self) -> float:
        """Each unit's share of the time so far."""
        return self.elapsed_s / len(self.works)


class CurrentStep(BaseModel):
    """What a control worker does for a job: its plan, a merge, an assembly, its result."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    job_id: str
    label: str
    image: int | None = None
    """``None`` for what concerns the whole job."""
    elapsed_s: float


class NodeRecord(BaseModel):
    """One worker process as it showed itself last; read tolerantly, workers may be newer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    node: str
    pid: int
    pool: str
    """Pools whose queues it consumes, separated by commas."""
    device: str = ""
    """Empty for a worker that renders nothing."""
    device_name: str = ""
    memory_gb: float = 0.0
    free_memory_gb: float = 0.0
    models: list[str] = []
    """What is loaded now."""
    installed: dict[str, dict[str, float]] = {}
    """What lies in its folders: kind, name, GB that its card asks for (0: no card says). A kind
    that is not there is not told: by an older worker, or because there is too much of it."""
    labels: dict[str, str] = {}
    weight: float = 1.0
    queue: str = ""
    """Its own queue; empty when it takes from its pools' alone."""
    current: CurrentUnit | None = None
    earlier: CurrentUnit | None = None
    """What it took before the current one and has not acknowledged: most often it stores that."""
    step: CurrentStep | None = None
    state: NodeState = NodeState.READY
    reason: str = ""
    units_done: int = 0
    age_s: float = 0.0
    is_lost: bool = False

    @property
    def at_hand(self) -> list[CurrentUnit]:
        """All that would be lost with it."""
        return [unit for unit in (self.current, self.earlier) if unit is not None]

    def at_hand_of(self, job_id: str, plan_hash: str) -> list[CurrentUnit]:
        """What it has of a job, by the plan that the job has now."""
        job = job_id, plan_hash
        return [unit for unit in self.at_hand if (unit.job_id, unit.plan_hash) == job]

    @property
    def pools(self) -> list[str]:
        return self.pool.split(",")

    def placed(
        self, coming: Collection[str] = (), *, backlog_s: float = 0.0, in_flight: int = 0
    ) -> Node:
        """This worker to a strategy, with the models and units that are on their way to it."""
        return Node(
            name=self.node,
            memory_gb=self.memory_gb or None,
            models=frozenset(self.models).union(coming),
            weight=self.weight,
            backlog_s=backlog_s,
            in_flight=in_flight,
            is_ready=self.state is NodeState.READY,
            installed=self.installed,
        )

    def serves(self, pool: str) -> bool:
        """Whether it is alive and takes from the queue of *pool*."""
        return pool in self.pools and not self.is_lost


def read_nodes(board: LiveBoard, heartbeat_s: float) -> list[NodeRecord]:
    """All nodes on *board* by name; a record that cannot be read is left out."""
    found = []
    for _, record in sorted(board.shown(NODES).items()):
        try:
            node = NodeRecord.model_validate(record)
        except ValidationError:
            continue
        is_lost = node.age_s > LOST_AFTER_BEATS * heartbeat_s
        found.append(node.model_copy(update={"is_lost": is_lost}))
    return found
