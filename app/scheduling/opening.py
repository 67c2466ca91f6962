"""A tenant's next picture is opened while one of its is rendered.

Its base and its preparation wait in the queue one after the other. Were they sent when the tenant
has nothing else left, its place would be empty so long, and others would get all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from app.domain.work import OPENING_STAGES, Stage
from app.scheduling.job import OpenJob

StagesOf = Callable[[OpenJob], Sequence[Stage]]
"""The stages of a job's units that can be sent to a pool."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose units are sent next: up to *most* of those *stages*."""

    job: OpenJob
    stages: Sequence[Stage]
    most: int
    is_early: bool = False
    """Whether they open a picture beside another one's turn."""


def early_turn(
    first: OpenJob,
    alike: Iterable[OpenJob],
    line: Iterable[OpenJob],
    pool: str,
    stages_of: StagesOf,
) -> Turn | None:
    """What to open before *first*, whose turn it is at *pool*, is served; ``None`` for nothing.

    *alike* have units for *pool* and rank with *first* but for their place in line, which is that
    order; *line* are all jobs there are. One picture is opened at a time: whoever has a thousand
    waits for the first, and not for all.
    """
    place = _place(first)
    peers = (job for job in line if _place(job) == place)
    others = (image for job in peers for image in job.open_images(pool, stages_of(job)))
    if not first.open_images(pool, stages_of(first)) or len(list(islice(others, 2))) > 1:
        return None
    for job in alike:
        if _place(job) == place:
            opening = [stage for stage in stages_of(job) if stage in OPENING_STAGES]
            if opening:
                return Turn(job, opening, 1, is_early=True)
    return None


def _place(job: OpenJob) -> tuple[str, str] | None:
    """Tenant and class; nothing of a paused job comes next."""
    return None if job.entry.is_paused else (job.entry.tenant, job.entry.priority)
