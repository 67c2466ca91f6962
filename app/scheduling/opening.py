"""A tenant's next picture is opened while one of its is rendered.

Its base and its preparation wait in the queue one after the other. Were they sent when the tenant
has nothing else left, its place would be empty so long, and others would get all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.domain.work import OPENING_STAGES, Stage
from app.scheduling.job import OpenJob


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose units are sent next: up to *most* of those *stages*."""

    job: OpenJob
    stages: Sequence[Stage]
    most: int


def next_turn(
    ordered: Sequence[OpenJob],
    line: Iterable[OpenJob],
    stages_of: Callable[[OpenJob], Sequence[Stage]],
    most: int,
) -> Turn:
    """The turn of the first of *ordered*, or of the one of its tenant and class to open before it.

    *line* are all jobs there are, *stages_of* tells which of a job's can be sent. One picture is
    opened at a time: whoever has a thousand of them waits for the first, and not for all.
    """
    first = ordered[0]
    place = _place(first)
    if first.open_images and sum(job.open_images for job in line if _place(job) == place) < 2:
        for job in ordered:
            opening = [stage for stage in stages_of(job) if stage in OPENING_STAGES]
            if opening and _place(job) == place:
                return Turn(job, opening, 1)
    return Turn(first, stages_of(first), most)


def _place(job: OpenJob) -> tuple[str, str] | None:
    """Tenant and class; nothing of a paused job comes next."""
    return None if job.entry.is_paused else (job.entry.tenant, job.entry.priority)
