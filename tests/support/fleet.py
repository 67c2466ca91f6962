"""Several workers on one store, each with its own caches: how a render is distributed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.domain.batching import batches
from app.domain.plan import RenderPlan
from app.domain.work import WORKER_STAGES, Stage, Work, plan_key
from app.schemas import WorkMessage, read_plan
from app.storage.port import BlobStore
from tests.support.blobs import ComparingStore, CrashError
from tests.support.engine import (
    finished_latents,
    next_of_job,
    next_of_phases,
    prepare,
    run_unit,
    toy_context,
)
from workers.families.model import Model
from workers.renderer import Renderer

Batch = tuple[Work, ...]


class Fleet:
    """*workers* that take messages of up to *size* tiles, in random order and half of them twice.

    Whoever gets a message does it, whether or not somebody else has: so it is when a message is
    delivered to two workers at once. Only after a crash does one look what is there already.
    """

    def __init__(
        self,
        model: Model,
        *,
        workers: int = 1,
        size: int = 1,
        seed: int = 3,
        store: ComparingStore | None = None,
    ) -> None:
        self.store = ComparingStore() if store is None else store
        self.crashes = 0
        self._model, self._size, self._random = model, size, random.Random(seed)
        self._workers = [self._worker() for _ in range(workers)]

    def render(
        self, plan: RenderPlan, picture: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The finished canvas latents ``(C, H, W)``; see ``tests.support.engine.run_phases``."""
        self._order(plan)
        self._insist(lambda: prepare(toy_context(self._model, self.store), plan, picture))
        self._work_off(plan, next_of_phases)
        return finished_latents(self.store, plan)

    def finish(self, plan: RenderPlan) -> BlobStore:
        """The store with every blob of *plan*, from its base to its pictures."""
        self._order(plan)
        self._work_off(plan, next_of_job)
        return self.store

    def _order(self, plan: RenderPlan) -> None:
        key = plan_key(plan.hash)
        self._insist(lambda: self.store.exists(key) or self.store.put(key, plan.to_json()))

    def _work_off(
        self, plan: RenderPlan, upcoming: Callable[[BlobStore, RenderPlan], Sequence[Work]]
    ) -> None:
        while missing := upcoming(self.store, plan):
            for batch in self._deliveries(plan, missing):
                self._insist(lambda batch=batch: self._deliver(plan, batch))

    def _deliveries(self, plan: RenderPlan, works: Sequence[Work]) -> list[Batch]:
        sent = list(batches(plan, works, self._size))
        sent += self._random.sample(sent, (len(sent) + 1) // 2)
        self._random.shuffle(sent)
        return sent

    def _deliver(self, plan: RenderPlan, batch: Batch) -> None:
        first, *others = batch
        if first.stage not in WORKER_STAGES:
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
        self._execute(WorkMessage.model_validate_json(message.model_dump_json()))

    def _execute(self, message: WorkMessage) -> None:
        plan, works = read_plan(self.store.get(plan_key(message.plan_hash))), message.works
        if self._is_again:
            works = [work for work in works if not self.store.exists(work.key(plan))]
        worker = self._random.choice(self._workers)
        if message.stage is not Stage.TILE:
            blobs = [worker.render(plan, work, lambda: None) for work in works]
        else:
            blobs = worker.render_tiles(plan, works, lambda: None)
        for work, blob in zip(works, blobs, strict=True):
            self.store.put(work.key(plan), blob)

    def _insist(self, do: Callable[[], object]) -> None:
        """A message whose worker has crashed is delivered again, to whoever is there then."""
        self._is_again = False
        while True:
            try:
                do()
                return
            except CrashError:
                self.crashes += 1
                self._is_again = True
                self._workers = [self._worker() for _ in self._workers]

    def _worker(self) -> Renderer:
        return Renderer(toy_context(self._model, self.store))
