"""Whatever a running job has stored may rot or vanish: the picture is the same to the last bit."""

import io
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image

from app import workflow
from app.attempts import Attempts
from app.bootstrap import Runtime
from app.domain.errors import CorruptBlobError, RenderFailedError
from app.domain.work import Stage, Work, image_key, next_work, work_of
from app.jobs import JobLedger, present_keys
from app.live.memory import MemoryBoard
from app.parts import parts_of
from app.patience import Patience
from app.planning import plan_request
from app.retention.survey import is_result
from app.schemas import WorkMessage, read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.blobs import ComparingStore, kind
from tests.support.damage import damage
from workers.errand import Delivery
from workers.execution import Executor
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages.context import Context

CPU, JOB = torch.device("cpu"), "job"
SMALL = {"prompt": "a map", "height": 72, "width": 104, "steps": 2, "tile": 64}
WIDE = {"prompt": "a map", "height": 64, "width": 320, "steps": 1, "tile": 160}
MASKED = {"init_image": "inputs/picture", "mask": "inputs/mask", "mode": "refine"}
ORDERS = {
    "from a base, held to it": SMALL | {"mode": "refine", "models": {"control": "sd-tile"}},
    "with a head": WIDE | {"mode": "refine"},
    "an edit": WIDE | MASKED,
}


class WatchedStore(ComparingStore):
    """Knows which blobs were read; some it does not keep as they are."""

    def __init__(self):
        super().__init__()
        self.read = set()
        self.spoilt = {}

    def put(self, key, data):
        if key in self.spoilt and not self.exists(key):
            self.spoilt[key](self, key, data)
            return True
        return key in self.spoilt or super().put(key, data)

    def get(self, key):
        self.read.add(key)
        return super().get(key)


@dataclass
class Job:
    """One job and all who work for it; every unit meets a worker that knows nothing yet."""

    catalogue: object
    request: dict
    models: ModelCache
    store: WatchedStore = field(default_factory=WatchedStore)

    def __post_init__(self):
        chosen = Settings(model="sd", models_path=[], broker_url="amqp://localhost//")
        ledger = JobLedger(self.store)
        self.runtime = Runtime(chosen, self.store, ledger, self.catalogue, MemoryBoard())
        picture = np.random.default_rng(2).integers(0, 256, (64, 320, 3))
        self.store.put("inputs/picture", png(picture))
        mask = np.zeros_like(picture)
        mask[:, :64] = 255  # inside one of two cores: the other's pixels stay
        self.store.put("inputs/mask", png(mask))
        request = read_request(self.request)
        self.plan = plan_request(request, self.catalogue, chosen, self.store.get)
        ledger.accept(JOB, request, self.plan)

    def keys(self):
        return present_keys(self.store, self.plan)

    def moments(self):
        """Does what can be done next, again and again; yields before each group of units."""
        while not self.runtime.ledger.has_result(JOB):
            if (units := next_work(self.plan, self.keys()))[0].stage in workflow.WORKER_STAGES:
                yield
                for work in units:
                    self.execute(work)
            else:
                yield
                workflow.advance(self.runtime, JOB)
            workflow.raise_if_ended(self.runtime, JOB)

    def execute(self, work):
        message = WorkMessage(job_id=JOB, plan_hash=self.plan.hash, **fields_of(work))
        return self.executor().execute(message, Delivery("gpu1@host"))["status"]

    def executor(self):
        renderer = Renderer(Context(self.store, self.models, None, 100.0))
        attempts = Attempts(self.store, self.runtime.board, 0.001, max_deaths=3, me="me")
        patience = Patience(0, 0.0, 0.0, is_stopping=lambda: False)
        return Executor(
            self.store, self.runtime.ledger, renderer, "cpu", attempts=attempts, patience=patience
        )

    def finish(self):
        for _ in self.moments():
            pass
        return digest_of(self)


def fields_of(work):
    return {"stage": work.stage, "image": work.image, "phase": work.phase, "index": work.index}


def digest_of(job):
    return json.loads(job.store.get(f"{Work(Stage.PICTURE, 0).key(job.plan)}.json"))["sha256"]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def models(families):
    return ModelCache(families, CPU)


@pytest.fixture(scope="module", params=ORDERS.values(), ids=ORDERS)
def history(request, families, models):
    """A job that nothing happens to, and before each of its steps what the store had, with the
    keys that the step read."""
    job, steps = Job(families, request.param, models), []
    for _ in job.moments():
        job.store.read = set()
        steps.append((dict(job.store._blobs), job.store.read))
    return job, steps


@pytest.fixture
def again(history, models):
    """The same job at the beginning of one of its steps."""
    first, steps = history

    def at(step):
        job = Job(first.catalogue, first.request, models)
        job.store._blobs = dict(steps[step][0])
        return job

    return at


def needed(history):
    """One blob of each kind that a step reads or begins with, step after step."""
    job, steps = history
    proofs = {work.key(job.plan) for group in work_of(job.plan) for work in group}
    for number, (blobs, read) in enumerate(steps):
        there = {key for key in blobs if key.startswith(f"plans/{job.plan.series}/image-")}
        kinds = {kind(key): key for key in sorted(there & (read | proofs))}
        yield from ((number, key) for key in kinds.values())


def test_every_blob_that_a_picture_is_made_from_is_a_units_or_a_part_of_one(history):
    job, _ = history
    units = [work for group in work_of(job.plan) for work in group]
    folder = f"plans/{job.plan.series}/"

    owned = {work.key(job.plan) for work in units if work.stage is not Stage.PICTURE}
    owned |= {key for work in units for key in parts_of(job.plan, work)}

    stored = {key for key in job.store.keys(folder) if not is_result(key.removeprefix(folder))}
    assert stored == owned


@pytest.mark.parametrize(
    "hurt", [damage, lambda store, key: store.delete(key)], ids=["rotten", "gone"]
)
def test_a_job_that_loses_a_blob_it_needs_ends_with_the_same_picture(history, again, hurt):
    first, _ = history
    for step, key in needed(history):
        job = again(step)
        hurt(job.store, key)

        assert job.finish() == digest_of(first), (step, key)


def lost_at_once(store, key, data):
    """What a store says that has confirmed a blob, and has not kept it."""


def rotten_at_once(store, key, data):
    MemoryStore.put(store, key, data)
    damage(store, key)


@pytest.mark.parametrize(
    ("name", "put", "reason"),
    [
        (
            "base",
            rotten_at_once,
            "prepare 0 of image 0: blob {} in memory does not match its SHA-256",
        ),
        ("prompt-000", lost_at_once, "tile 0 of image 0: blob {} does not exist in memory"),
        ("bands-1/0000", lost_at_once, "tile 0 of image 0: blob {} does not exist in memory"),
        ("phase-0/tile-00000", rotten_at_once, "blob {} in memory does not match its SHA-256"),
    ],
)
def test_what_is_damaged_again_and_again_ends_the_job_with_the_reason(
    families, models, name, put, reason
):
    job = Job(families, SMALL | {"mode": "refine"}, models)
    key = image_key(job.plan, 0, name)
    job.store.spoilt[key] = put

    with pytest.raises((RenderFailedError, CorruptBlobError)) as failure:
        job.finish()

    assert str(failure.value) == reason.format(key)


def test_a_job_that_is_resumed_may_have_its_blobs_made_again(families, models):
    job = Job(families, SMALL | {"mode": "refine"}, models)
    key = image_key(job.plan, 0, "base")
    job.store.spoilt[key] = rotten_at_once
    with pytest.raises(RenderFailedError):
        job.finish()
    job.store.spoilt.clear()

    job.runtime.ledger.reopen(JOB)

    assert job.runtime.ledger.may_mend(JOB, "image-0000/prepared")
    job.finish()
