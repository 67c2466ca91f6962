"""Open jobs, some of their units done."""

from app.domain.spec import Priority
from app.domain.work import WORKER_STAGES, Stage, image_work
from app.entries import Entry
from app.scheduling.job import OpenJob
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan as plan_of

ENTRY = Entry("job", 5000, Priority.HIGH, "studio", 9000)


PLAN = plan_of(height=1024, width=1024)


BATCH = plan_of(height=512, width=512, count=5)


OUR_STAGES = list(WORKER_STAGES)


def write(store, plan, units) -> None:
    for work in units:
        store.put(work.key(plan), b"{}")


def groups_of(plan, image, *stages):
    return [work for group in image_work(plan, image) for work in group if work.stage in stages]


def opened(plan, *done, group=100) -> tuple[OpenJob, MemoryStore]:
    """A job of which the units *done* are done."""
    store = MemoryStore()
    write(store, plan, done)
    job = OpenJob(ENTRY, plan, group)
    job.load(store, 0.0)
    return job, store


def before_tiles(plan):
    images = range(plan.spec.count)
    return [work for image in images for work in groups_of(plan, image, Stage.BASE, Stage.PREPARE)]


def take(job, count=1000, stages=OUR_STAGES):
    return job.take(count, stages, "gpu", 0.0)
