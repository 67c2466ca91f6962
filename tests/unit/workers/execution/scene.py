"""What the tests of the executor execute, and with what."""

from concurrent.futures import Future

import torch

from app.domain.errors import (
    StorageUnavailableError,
)
from app.domain.work import Stage, Work
from app.schemas import WorkMessage
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan
from workers.errand import Delivery

RENDER = plan(height=1024, width=1024)


WORK = Work(Stage.TILE, 0, index=3)


MERGED = Work(Stage.MERGE, 0)


MESSAGE = WorkMessage(job_id="job", plan_hash=RENDER.hash, stage=Stage.TILE, image=0, index=3)


BATCH = MESSAGE.model_copy(update={"more": [4, 5, 6]})


IN_TURN = BATCH.model_copy(update={"together": 1})


FIRST = Delivery("gpu1@host")


PASSED_ON = Delivery("gpu1@host", can_pass_on=True)


AGAIN = Delivery("gpu1@host", is_again=True)


BOUNDED = Delivery("gpu1@host", bigger_pool="large")


class FakeRenderer:
    """Counts what it is asked for, and fails when told to."""

    def __init__(self):
        self.rendered = []
        self.asked = []
        self.errors = []
        self.fits = 99
        self.during = lambda: None
        self.loading = lambda: None

    def load(self, plan, stage):
        self.loading()

    def render(self, plan, work, check):
        return self.render_tiles(plan, [work], check)[0]

    def render_tiles(self, plan, works, check):
        self.asked.append([work.index for work in works])
        self.during()
        check()
        if self.errors:
            raise self.errors.pop(0)
        if len(works) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.rendered += works
        return [f"pixels {work.index}".encode() for work in works]


class UnreliableStore(MemoryStore):
    """Does not take the next so many blobs whose keys have a given part."""

    def __init__(self):
        super().__init__()
        self.refused = {}
        self.before = lambda key: True

    def put(self, key, data):
        self.before(key)
        for part, left in self.refused.items():
            if part in key and left:
                self.refused[part] -= 1
                raise StorageUnavailableError("store m does not answer")
        return super().put(key, data)


class ExitedError(BaseException):
    """Stands for the end of the process."""


def asking(store, asked):
    """A delivery whose next message is *asked* for, noting what is stored then."""

    def ask():
        asked.append(store.exists(WORK.key(RENDER)))
        return Future()

    return Delivery("gpu1@host", ask_next=ask)
