"""Jobs that are walked through without workers."""

from collections.abc import Iterator

import numpy as np

from app import workflow
from app.domain.work import (
    Stage,
    Work,
    next_work,
)
from app.jobs import present_keys
from app.pictures.codecs import encode_array, encode_pixels
from app.schemas import Manifest, read_request

REQUEST = read_request({"prompt": "a map", "height": 128, "width": 160, "priority": "high"})


SEVERAL_CORES = read_request({"prompt": "a map", "height": 128, "width": 320})


def finish_units(runtime, plan, units) -> None:
    """What workers would leave behind for *units*."""
    for work in units:
        blob = b"{}"
        if work.stage is Stage.TILE:
            phase = plan.phases[work.phase]
            box, parts = phase.tiles[work.index], 2 if phase.splits_noise else 1
            blob = encode_array(np.ones((4 * parts, box.height, box.width), np.float32))
        if work.stage is Stage.CORE:
            box = plan.core_pixels(work.index)
            blob = encode_pixels(np.full((box.height, box.width, 3), 7, np.uint8))
        runtime.store.put(work.key(plan), blob)


def walk(runtime, job_id) -> Iterator[tuple[Work, ...]]:
    """The units of each stage that workers are asked for, done when the next are asked for."""
    plan = runtime.ledger.plan(job_id)
    while runtime.ledger.has_result(job_id) is False:
        units = next_work(plan, present_keys(runtime.store, plan))
        yield units
        finish_units(runtime, plan, units)
        workflow.advance(runtime, job_id)


def finish(runtime, job_id, request) -> Manifest:
    workflow.start(runtime, job_id, request)
    for _ in walk(runtime, job_id):
        pass
    return runtime.ledger.result(job_id)
