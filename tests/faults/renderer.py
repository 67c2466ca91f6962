"""Pictures for tests of faults: fast, without a model, a pure function of the plan and the blobs.

A tile's latents depend on the plan and the unit alone. A core's pixels also depend on the canvas
it is cut from, so that a lost, foreign or twice merged tile shows in the finished picture.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from app.canvas import read_window
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, unit_name, work_of
from app.merging import assemble_picture, merge_phase
from app.parts import parts_of, sources_of
from app.pictures.codecs import decode_array, encode_array, encode_pixels
from app.storage.memory import MemoryStore
from app.storage.port import BlobStore
from tests.faults.history import stamp

NODE = "TILECHORD_FAULT_NODE"
TRACE = "TILECHORD_FAULT_TRACE"
TILE_MS = "TILECHORD_FAULT_TILE_MS"
_SLICE_S = 0.05


class FaultRenderer:
    """Traces each unit, takes the time of the test and renders ``blob_of``."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def load(self, plan: RenderPlan, stage: Stage) -> None:
        """There is nothing to load."""

    def render(self, plan: RenderPlan, work: Work, check: Callable[[], None]) -> bytes:
        trace("start", plan=plan.hash, unit=unit_name(plan, work), key=work.key(plan))
        _work_for(_seconds(plan, work), check)
        for key in inputs_of(plan, work):
            self._store.get(key)
        for key in parts_of(plan, work):
            self._store.put(key, b"part")
        return blob_of(self._store, plan, work)

    def render_tiles(
        self, plan: RenderPlan, works: Sequence[Work], check: Callable[[], None]
    ) -> list[bytes]:
        return [self.render(plan, work, check) for work in works]


def install() -> None:
    """Let this worker's renderer be the one above."""
    from workers import bootstrap

    bootstrap.open_renderer = lambda app, device: FaultRenderer(app.store)  # type: ignore


def blob_of(store: BlobStore, plan: RenderPlan, work: Work) -> bytes:
    """What a worker stores for *work*."""
    random = np.random.default_rng(_number(plan, work))
    if work.stage is Stage.TILE:
        phase = plan.phases[work.phase]
        box = phase.tiles[work.index]
        channels = plan.latent_channels * (2 if phase.splits_noise else 1)
        return encode_array(random.standard_normal((channels, box.height, box.width), np.float32))
    if work.stage is Stage.CORE:
        box, canvas = plan.core_pixels(work.index), plan.decode.cores[work.index]
        latents = read_window(
            plan, work.image, len(plan.phases), canvas, lambda key: decode_array(store.get(key))
        )
        pattern = random.integers(0, 256, (box.height, box.width, 3), np.uint8)
        return encode_pixels(pattern ^ np.uint8(zlib.crc32(latents.tobytes()) & 0xFF))
    return b"{}"


def inputs_of(plan: RenderPlan, work: Work) -> Iterator[str]:
    """Keys of what a worker reads for *work*."""
    for source in sources_of(plan, work):
        yield from parts_of(plan, source)
    if work.stage is Stage.PREPARE and plan.base is not None:
        yield Work(Stage.BASE, work.image).key(plan)


def clean_pictures(plan: RenderPlan) -> list[str]:
    """SHA-256 of the plan's pictures when nothing goes wrong: one loop, no queue."""
    store = MemoryStore()
    for group in work_of(plan):
        for work in group:
            match work.stage:
                case Stage.MERGE:
                    merge_phase(store, plan, work.image, work.phase)
                case Stage.PICTURE:
                    assemble_picture(store, plan, work.image)
                case _:
                    store.put(work.key(plan), blob_of(store, plan, work))
    keys = [f"{Work(Stage.PICTURE, image).key(plan)}.json" for image in range(plan.spec.count)]
    return [str(json.loads(store.get(key))["sha256"]) for key in keys]


def trace(event: str, **fields: object) -> None:
    """Append a line to the history, if this process has one; one write, so lines stay whole."""
    if path := os.environ.get(TRACE):
        line = {**stamp(), "event": event, "node": os.environ.get(NODE, ""), "pid": os.getpid()}
        with Path(path).open("a") as file:
            file.write(json.dumps(line | fields) + "\n")


def _work_for(seconds: float, check: Callable[[], None]) -> None:
    """Take time as steps of denoising do: between them the job may be found to have ended."""
    end = time.monotonic() + seconds
    check()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE_S))
        check()


def _seconds(plan: RenderPlan, work: Work) -> float:
    low, _, high = os.environ.get(TILE_MS, "20-50").partition("-")
    share = _number(plan, work) % 1000 / 1000
    return (float(low) + share * (float(high or low) - float(low))) / 1000


def _number(plan: RenderPlan, work: Work) -> int:
    text = f"{plan.series}:{unit_name(plan, work)}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
