"""The result of a job: its pictures, what was measured, who rendered what and in which time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from statistics import fmean

from app.domain.errors import CorruptBlobError, NotFoundError
from app.domain.plan import RenderPlan
from app.domain.quality import worst
from app.domain.rounds import round_latencies
from app.domain.work import Run, Stage, Work, pictures_in, plan_prefix, run_prefix
from app.measuring import image_figures
from app.schemas import Lineage, Manifest, PictureRecord, RegionBox, WorkerShare
from app.storage.port import BlobStore


def manifest_of(
    store: BlobStore,
    plan: RenderPlan,
    job_id: str,
    runs: Sequence[Run],
    *,
    cached: bool,
    parent: str | None = None,
) -> Manifest:
    """The manifest of a job whose pictures are all there; *parent* is the job it renders again.

    *runs* are those of its plan, as :func:`read_runs` returns them.
    """
    return Manifest(
        job_id=job_id,
        plan_hash=plan.hash,
        images=[_picture_record(store, plan, image) for image in range(plan.spec.count)],
        quality=_quality(store, plan),
        timings=_timings(plan, runs),
        workers=_shares(runs),
        executions=len(runs),
        units=len({run.unit for run in runs}),
        cached=cached,
        lineage=_lineage(plan, parent),
    )


def read_runs(store: BlobStore, plan: RenderPlan) -> list[Run]:
    """Every execution of the plan's units, in order of their start."""
    runs = [Run.parse(plan, key) for key in store.keys(run_prefix(plan))]
    return sorted(runs, key=lambda run: run.started_ms)


def finished_pictures(store: BlobStore, plan: RenderPlan) -> dict[int, PictureRecord]:
    """The pictures of *plan* that are there, by image, their URLs valid from now."""
    found = {}
    for image in pictures_in(plan, set(store.keys(plan_prefix(plan)))):
        # What is removed since it was listed is no longer there, and what is damaged no use.
        with suppress(CorruptBlobError, NotFoundError):
            found[image] = _picture_record(store, plan, image)
    return found


def _picture_record(store: BlobStore, plan: RenderPlan, image: int) -> PictureRecord:
    key = Work(Stage.PICTURE, image).key(plan)
    picture = PictureRecord(key=key, **json.loads(store.get(f"{key}.json")))
    picture.locate(store.url)
    return picture


def _lineage(plan: RenderPlan, parent: str | None) -> Lineage | None:
    again = plan.spec.rerender
    if again is None:
        return None
    return Lineage(
        job_id=parent,
        plan_hash=again.plan_hash,
        image=again.image,
        box=RegionBox(**asdict(again.box)),
        seed=plan.spec.seed,
    )


def _quality(store: BlobStore, plan: RenderPlan) -> dict[str, float]:
    """The worst value of each figure over the job's images."""
    return worst(image_figures(store, plan, image) for image in range(plan.spec.count))


def _timings(plan: RenderPlan, runs: Sequence[Run]) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for run in runs:
        seconds[run.stage] += run.seconds
    if runs:
        end_ms = max(run.started_ms + 1000 * run.seconds for run in runs)
        seconds["workers_wall"] = (end_ms - runs[0].started_ms) / 1000
    if latencies := round_latencies(plan, runs):
        seconds["round_latency"] = fmean(latencies)
    return {name: round(value, 3) for name, value in seconds.items()}


def _shares(runs: Sequence[Run]) -> dict[str, WorkerShare]:
    shares: dict[str, WorkerShare] = defaultdict(WorkerShare)
    for run in runs:
        share = shares[run.worker]
        share.tiles += run.stage is Stage.TILE
        share.cores += run.stage is Stage.CORE
        share.seconds = round(share.seconds + run.seconds, 3)
    return dict(sorted(shares.items()))
