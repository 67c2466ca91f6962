"""What nodes have of a job, by what they showed last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.domain.work import Work
from app.nodes import CurrentUnit, NodeRecord
from app.scheduling.job import OpenJob

_LATE_TIMES = 1.5
"""Of what was predicted: until then it may end any moment."""

Seconds = Callable[[Work, NodeRecord], float]
"""How long a unit takes on a node."""


class Begun(NamedTuple):
    """Units that a node works on, and for how many more seconds."""

    works: tuple[Work, ...] = ()
    left_s: float = 0.0


def begun(job: OpenJob, nodes: Sequence[NodeRecord], seconds: Seconds) -> dict[str, Begun]:
    """What is not done of *job* and under way, by the names of those *nodes* that have some.

    A unit that several have is with whom it ends first. What a node shows may be done since: it
    is half through another unit then, if there is one.
    """
    shown = [
        (node, _left_of(job, unit, node, seconds))
        for node in nodes
        for unit in node.at_hand_of(job.entry.job_id, job.plan.hash)
    ]
    unseen, found = dict.fromkeys(job.flying), dict[str, Begun]()
    for node, part in sorted(shown, key=lambda entry: entry[1].left_s):
        works = tuple(work for work in part.works if work in unseen)
        for work in works:
            del unseen[work]
        if works:
            before = found.get(node.node, Begun())
            found[node.node] = Begun(before.works + works, before.left_s + part.left_s)
    at_work = {node.node for node, part in shown if part.works}
    others = {node.node: node for node, _ in shown if node.node not in at_work}
    for node, work in zip(others.values(), unseen, strict=False):
        found[node.node] = Begun((work,), seconds(work, node) / 2)
    return found


def _left_of(job: OpenJob, shown: CurrentUnit, node: NodeRecord, seconds: Seconds) -> Begun:
    """What is not done of a message. What takes much longer than it should is as good as new:
    either it ends some time, or another node does it again."""
    times_s = {work: seconds(work, node) for work in shown.works}
    works = tuple(work for work in times_s if work in job.flying)
    all_s = sum(times_s[work] for work in works)
    spent_s = max(0.0, shown.elapsed_s + node.age_s - (sum(times_s.values()) - all_s))
    is_late = spent_s > _LATE_TIMES * all_s
    return Begun(works, min(spent_s / 2, all_s) if is_late else max(0.0, all_s - spent_s))
