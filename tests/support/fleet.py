"""Several workers on one store, each with its own caches: how a render is distributed."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain.batching import batches
from app.domain.plan import RenderPlan
from app.domain.work import Stage, Work, plan_key
from app.schemas import WorkMessage, read_plan
from app.storage.memory import MemoryStore
from tests.support.engine import finished_latents, next_of_phases, prepare, run_unit, toy_context
from workers.families.model import Model
from workers.renderer import Renderer


class CrashError(Exception):
    """The worker's process has ended."""


class CrashingStore(MemoryStore):
    """Ends every *period*-th write with a crash instead; 0 is never."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self._period, self._writes = period, 0

    def put(self, key: str, data: bytes) -> bool:
        self._writes += 1
        if self._period and self._writes % self._period == 0:
            raise CrashError
        return super().put(key, data)


class Fleet:
    """*workers* that take messages of up to *size* tiles, in random order and some twice."""

    def __init__(
        self, model: Model, *, workers: int = 1, size: int = 1, crash_period: int = 0, seed: int = 3
    ) -> None:
        self.store = CrashingStore(crash_period)
        self.crashes = 0
        self._model, self._size, self._random = model, size, random.Random(seed)
        self._workers = [self._worker() for _ in range(workers)]

    def render(
        self, plan: RenderPlan, picture: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The finished canvas latents ``(C, H, W)``; see ``tests.support.engine.run_phases``."""
        self._insist(lambda: self.store.put(plan_key(plan.hash), plan.to_json()))
        self._insist(lambda: prepare(toy_context(self._model, self.store), plan, picture))
        while missing := next_of_phases(self.store, plan):
            for batch in self._deliveries(plan, missing):
                self._insist(lambda batch=batch: self._deliver(plan, batch))
        return finished_latents(self.store, plan)

    def _deliveries(self, plan: RenderPlan, works: Sequence[Work]) -> list[tuple[Work, ...]]:
        sent = list(batches(plan, works, self._size))
        sent += self._random.sample(sent, len(sent) // 2)
        self._random.shuffle(sent)
        return sent

    def _deliver(self, plan: RenderPlan, batch: tuple[Work, ...]) -> None:
        first, *others = batch
        if first.stage is Stage.MERGE:
            run_unit(toy_context(self._model, self.store), plan, first)
            return
        message = WorkMessage(
            job_id="job",
            plan_hash=plan.hash,
            stage=first.stage,
            image=first.image,
            phase=first.phase,
            index=first.index,
            more=[work.index for work in others],
        )
        works = WorkMessage.model_validate_json(message.model_dump_json()).works
        missing = [work for work in works if not self.store.exists(work.key(plan))]
        read = read_plan(self.store.get(plan_key(plan.hash)))
        blobs = self._random.choice(self._workers).render_tiles(read, missing, lambda: None)
        for work, blob in zip(missing, blobs, strict=True):
            self.store.put(work.key(plan), blob)

    def _insist(self, do) -> None:
        """A message whose worker has crashed is delivered again, to whoever is there then."""
        while True:
            try:
                return do()
            except CrashError:
                self.crashes += 1
                self._workers = [self._worker() for _ in self._workers]

    def _worker(self) -> Renderer:
        return Renderer(toy_context(self._model, self.store))
