"""Who did what when, and how long the rest will take; both from finished runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from statistics import mean

from app.domain.plan import RenderPlan
from app.domain.work import JOINED_STAGES, WORKER_STAGES, Run, Stage, pictures_in, work_of

_BAR_CHARS = 40


def timeline(runs: Sequence[Run]) -> Iterator[tuple[str, str, str, str, str]]:
    """One row per run: worker, unit, start and length in seconds, and a bar; by worker."""
    if not runs:
        return
    start_ms = min(run.started_ms for run in runs)
    span_s = max((run.started_ms - start_ms) / 1000 + run.seconds for run in runs) or 1.0
    for run in sorted(runs, key=lambda run: (run.worker, run.started_ms)):
        after_s = (run.started_ms - start_ms) / 1000
        left = round(after_s / span_s * _BAR_CHARS)
        length = max(1, round(run.seconds / span_s * _BAR_CHARS))
        bar = " " * min(left, _BAR_CHARS - 1) + "█" * length
        yield run.worker, run.unit, f"{after_s:.2f}", f"{run.seconds:.2f}", bar


def remaining_s(plan: RenderPlan, keys: Collection[str], runs: Sequence[Run]) -> float | None:
    """Seconds until the plan is done at the pace so far.

    ``None`` while no tile or core has ended of those that are left: how long it took to prepare
    tells nothing of hundreds of tiles, nor these of cores. Merging and assembling are not counted:
    they run on no worker and leave no run.
    """
    lengths: defaultdict[Stage, list[float]] = defaultdict(list)
    for run in runs:
        lengths[run.stage].append(run.seconds)
    finished = set(pictures_in(plan, keys))  # what they were made from may have been removed
    left = Counter(
        work.stage
        for group in work_of(plan)
        for work in group
        if work.stage in WORKER_STAGES and work.image not in finished and work.key(plan) not in keys
    )
    if not left:
        return 0.0
    if not any(stage in left and stage in lengths for stage in JOINED_STAGES):
        return None
    typical = mean(run.seconds for run in runs if run.stage in JOINED_STAGES)
    pace = {stage: mean(lengths[stage]) if stage in lengths else typical for stage in left}
    workers = len({run.worker for run in runs})
    return sum(count * pace[stage] for stage, count in left.items()) / workers
