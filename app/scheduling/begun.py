"""What nodes have of a job, by what they showed last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.domain.work import Work
from app.nodes import CurrentUnit, NodeRecord
from app.scheduling.job import OpenJob

_LATE_TIMES = 1.5

Seconds = Callable[[Work, NodeRecord], float]
"""How long a unit takes on a node."""


class Begun(NamedTuple):
    """Units that a node works on, and for how many more seconds."""

    works: tuple[Work, ...] = ()
    left_s: float = 0.0


def begun(job: OpenJob, nodes: Sequence[NodeRecord], seconds: Seconds) -> dict[str, Begun]:
    """What is not done of *job* and under way, by the names of those *nodes* that have some.

    What one shows may be done since: it is half through another unit then, if there is one.
    """
    unseen, found, others = dict.fromkeys(job.flying), dict[str, Begun](), []
    for node in nodes:
        shown = [unit for unit in node.at_hand if unit.job_id == job.entry.job_id]
        parts = [_take_left_of(unit, node, unseen, seconds) for unit in shown]
        works = tuple(work for part in parts for work in part.works)
        if works:
            found[node.node] = Begun(works, sum(part.left_s for part in parts))
        elif shown:
            others.append(node)
    for node, work in zip(others, unseen, strict=False):
        found[node.node] = Begun((work,), seconds(work, node) / 2)
    return found


def _take_left_of(
    shown: CurrentUnit, node: NodeRecord, unseen: dict[Work, None], seconds: Seconds
) -> Begun:
    """Units of a message that are *unseen*, which they are no longer: the others are done, or
    another node has them too."""
    times_s = {work: seconds(work, node) for work in shown.works}
    works = tuple(work for work in times_s if work in unseen)
    for work in works:
        del unseen[work]
    left_s = sum(times_s[work] for work in works)
    spent_s = max(0.0, shown.elapsed_s + node.age_s - (sum(times_s.values()) - left_s))
    # What takes longer than it should may take much longer: nobody knows why it does.
    is_late = works and spent_s > _LATE_TIMES * left_s
    return Begun(works, spent_s / 2 if is_late else max(0.0, left_s - spent_s))
