"""Which node gets a unit, for every strategy an operator can choose."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

STEAL_AFTER_S = 30.0  # about what loading a large model takes


class Strategy(StrEnum):
    LEAST_LOADED = "least_loaded"
    """Whoever has nothing to do takes the next unit from the pool's shared queue."""
    ROUND_ROBIN = "round_robin"
    """One node after the other, by name."""
    RANDOM = "random"
    """Any node, decided by the unit's id: a repeated run places alike."""
    RESOURCE = "resource"
    """The node with the least memory that is enough: larger ones stay free for larger models."""
    WEIGHTED = "weighted"
    """Seconds of work in proportion to the nodes' weights; one with more than its share waits."""
    AFFINITY = "affinity"
    """A node that has the model loaded; an idle one when those have too much before them."""

    @property
    def names_node(self) -> bool:
        """Units are sent to one node's queue, not to the pool's."""
        return self is not Strategy.LEAST_LOADED


@dataclass(frozen=True, slots=True)
class Part:
    """Something that has to lie in a node's folders: ``model atlas``, ``LoRA ink``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """A live worker process, as it last told of itself."""

    name: str
    memory_gb: float | None
    """``None``: it does not know."""
    models: frozenset[str]
    """Models that it has loaded."""
    weight: float
    backlog_s: float
    """Predicted seconds of the units it was given and has not finished."""
    in_flight: int
    is_ready: bool
    installed: Mapping[str, Collection[str]] = field(default_factory=dict, hash=False)
    """Names by kind of what lies in its folders; of a kind that is not there it does not tell."""

    def may_have(self, part: Part) -> bool:
        """Whether *part* lies in its folders, or nobody knows."""
        return part.kind not in self.installed or part.name in self.installed[part.kind]

    def given(self, need: Need) -> Node:
        """This node with one unit more before it."""
        return replace(self, backlog_s=self.backlog_s + need.seconds, in_flight=self.in_flight + 1)


@dataclass(frozen=True, slots=True)
class Need:
    """What a unit asks of the node that renders it."""

    model: str
    memory_gb: float
    seconds: float
    """Predicted."""
    unit_id: str
    behind_s: float = 0.0
    """Predicted seconds of further units of its model that wait for a node."""


def fits(node: Node, need: Need) -> bool:
    """Whether *node* has the memory; asked before every strategy."""
    return node.memory_gb is None or node.memory_gb >= need.memory_gb


@dataclass(slots=True)
class Placer:
    """Places units one by one; remembers what round robin and weights need to go on."""

    strategy: Strategy
    steal_after_s: float = STEAL_AFTER_S
    _last: str = ""
    _credit_s: dict[str, float] = field(default_factory=dict)

    def place(self, need: Need, nodes: Sequence[Node], *, most_in_flight: int = 2) -> Node | None:
        """The node that gets the unit, or ``None``: it waits.

        *nodes* are as they are after everything placed before, see :meth:`Node.given`.
        """
        able = sorted(
            (node for node in nodes if node.is_ready and fits(node, need)),
            key=lambda node: node.name,
        )
        open_nodes = [node for node in able if node.in_flight < most_in_flight]
        if not open_nodes:
            return None
        return self._choose(need, able, open_nodes)

    def _choose(self, need: Need, able: Sequence[Node], open_nodes: Sequence[Node]) -> Node | None:
        match self.strategy:
            case Strategy.LEAST_LOADED:
                return first_idle(open_nodes)
            case Strategy.ROUND_ROBIN:
                chosen = next_by_name(open_nodes, self._last)
                self._last = chosen.name
                return chosen
            case Strategy.RANDOM:
                return drawn(open_nodes, need.unit_id)
            case Strategy.RESOURCE:
                return smallest(open_nodes)
            case Strategy.WEIGHTED:
                return by_weight(able, open_nodes, need, self._credit_s)
            case Strategy.AFFINITY:
                return by_affinity(able, open_nodes, need, self.steal_after_s)


def first_idle(nodes: Sequence[Node]) -> Node | None:
    """Who would pull now; the others have a unit in hand."""
    return next((node for node in nodes if not node.in_flight), None)


def least_loaded(nodes: Sequence[Node]) -> Node:
    return min(nodes, key=lambda node: (node.backlog_s, node.in_flight, node.name))


def smallest(nodes: Sequence[Node]) -> Node:
    """Of those with the least memory the least loaded; who does not know its own comes last."""

    def place(node: Node) -> tuple[float, float, int, str]:
        memory_gb = math.inf if node.memory_gb is None else node.memory_gb
        return memory_gb, node.backlog_s, node.in_flight, node.name

    return min(nodes, key=place)


def next_by_name(nodes: Sequence[Node], last: str) -> Node:
    """The first of *nodes*, sorted by name, after *last*; nodes may have come and gone since."""
    return next((node for node in nodes if node.name > last), nodes[0])


def drawn(nodes: Sequence[Node], unit_id: str) -> Node:
    """Rendezvous hashing: a node that leaves moves no unit but its own."""

    def lot(node: Node) -> bytes:
        return hashlib.sha256(f"{unit_id}@{node.name}".encode()).digest()

    return max(nodes, key=lot)


def by_weight(
    able: Sequence[Node], open_nodes: Sequence[Node], need: Need, credit_s: dict[str, float]
) -> Node | None:
    """Smooth weighted round robin, in seconds: all earn by weight, the chosen pays for all.

    Who is next and full is waited for: were it passed over, speeds would decide and not weights.
    *credit_s* is kept from call to call. A node of weight 0 gets nothing.
    """
    weights = {node.name: node.weight for node in able if node.weight > 0}
    total = sum(weights.values())
    seconds = max(need.seconds, 1e-3)
    earned_s = {
        name: credit_s.get(name, 0.0) + seconds * weight / total for name, weight in weights.items()
    }
    next_name = max(earned_s, key=lambda name: earned_s[name], default="")
    chosen = next((node for node in open_nodes if node.name == next_name), None)
    if chosen is not None:
        credit_s |= earned_s
        credit_s[next_name] -= seconds
    return chosen


def by_affinity(
    able: Sequence[Node], open_nodes: Sequence[Node], need: Need, steal_after_s: float
) -> Node | None:
    """A node of *open_nodes*, with regard to all that are *able*.

    Waits for a warm node that is full but soon done, rather than load the model once more: that
    pays when what is before the warm ones takes longer than *steal_after_s*.
    """
    warm = [node for node in able if need.model in node.models]
    if not warm:
        return least_loaded(open_nodes)
    open_warm = [node for node in warm if node in open_nodes]
    before_s = min(node.backlog_s for node in warm) + need.behind_s / len(warm)
    if before_s > steal_after_s:
        thief = first_idle([node for node in open_nodes if node not in warm])
        if thief is not None:
            return thief
    return least_loaded(open_warm) if open_warm else None
