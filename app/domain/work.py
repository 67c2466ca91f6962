"""The units of work of a plan, their keys in the store, and what is left to do.

A job's state is a pure function of the blobs that exist: nothing else is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from app.domain.plan import RenderPlan
from app.domain.spec import Lora


class Stage(StrEnum):
    """What one unit of work does; in the order in which a plan needs them."""

    BASE = "base"
    PREPARE = "prepare"
    TILE = "tile"
    MERGE = "merge"
    HEAD = "head"
    CORE = "core"
    PICTURE = "picture"


class Outcome(StrEnum):
    """How a message's units ended at a worker."""

    RENDERED = "rendered"
    PRESENT = "present"
    """Their blobs were there already."""
    MOVED = "moved"
    """To a pool whose workers have more memory."""
    GONE = "gone"
    """What they are made from is not there, or no longer."""
    ABANDONED = "abandoned"
    """Their job has ended."""
    QUARANTINED = "quarantined"
    """Too many workers died of one; the job has failed."""
    FAILED = "failed"


WORKER_STAGES = (Stage.BASE, Stage.PREPARE, Stage.TILE, Stage.HEAD, Stage.CORE)
"""Stages that need a model; the others are done by the control worker."""

OPENING_STAGES = (Stage.BASE, Stage.PREPARE)
"""Those before an image has tiles: one unit each, and nothing else of it can be done meanwhile."""

JOINED_STAGES = (Stage.TILE, Stage.CORE)
"""Those whose units the control worker puts together; of the others workers go on by themselves."""


@dataclass(frozen=True, slots=True, order=True)
class Work:
    """One unit of work; its key names the blob that proves it done."""

    stage: Stage
    image: int
    phase: int = 0
    index: int = 0

    def key(self, plan: RenderPlan) -> str:
        match self.stage:
            case Stage.BASE:
                name = "base"
            case Stage.PREPARE:
                name = "prepared"
            case Stage.TILE:
                name = f"phase-{self.phase}/tile-{self.index:05d}"
            case Stage.MERGE:
                return canvas_key(plan, self.image, self.phase + 1)
            case Stage.HEAD:
                name = "head"
            case Stage.CORE:
                name = f"core-{self.index:05d}"
            case Stage.PICTURE:
                return picture_key(plan, self.image, f"picture.{plan.spec.format}")
        return image_key(plan, self.image, name)

    @property
    def label(self) -> str:
        """What a person calls it: ``tile 7 of image 0``, ``merge 1 of image 0``."""
        if self.stage is Stage.MERGE:
            return f"merge {self.phase} of image {self.image}"
        if self.stage is Stage.PICTURE:
            return f"assembly of image {self.image}"
        return f"{self.stage} {self.index} of image {self.image}"


def plan_key(plan_hash: str) -> str:
    return f"plans/{plan_hash}/plan.json"


def stage_model(plan: RenderPlan, stage: Stage) -> str:
    """The model that units of *stage* need."""
    return plan.spec.base_model if stage is Stage.BASE else plan.spec.refine_model


def model_label(name: str, loras: Iterable[Lora]) -> str:
    """What a worker that has it loaded calls it: ``atlas``, or ``atlas+ink`` with a LoRA."""
    return "+".join([name, *(lora.name for lora in loras)])


def loaded_label(plan: RenderPlan, stage: Stage) -> str:
    """What a worker that has loaded what units of *stage* need calls that."""
    return model_label(stage_model(plan, stage), plan.spec.loras)


def plan_prefix(plan: RenderPlan) -> str:
    return f"plans/{plan.hash}/"


def series_prefix(plan: RenderPlan) -> str:
    return f"plans/{plan.series}/"


def image_name(image: int) -> str:
    """The folder of an image, below its plan's and below its series'."""
    return f"image-{image:04d}"


def image_prefixes(plan: RenderPlan, image: int) -> tuple[str, str]:
    """Where the blobs of *image* are: what it is made from, and its file."""
    return image_key(plan, image, ""), picture_key(plan, image, "")


def image_key(plan: RenderPlan, image: int, name: str) -> str:
    """Of what a picture is made from; shared by all plans of the series."""
    return f"{series_prefix(plan)}{image_name(image)}/{name}"


def picture_key(plan: RenderPlan, image: int, name: str) -> str:
    """Of a picture's file and what is told about it."""
    return f"{plan_prefix(plan)}{image_name(image)}/{name}"


def pixels_key(plan: RenderPlan, image: int, core: int) -> str:
    """Where the finished pixels of *core* are: decoded, or those of the picture as it was."""
    if core in plan.decode.indices:
        return Work(Stage.CORE, image, index=core).key(plan)
    return ground_key(plan, image, core)


def ground_key(plan: RenderPlan, image: int, core: int) -> str:
    """The pixels of *core* in the picture of which a part is painted anew."""
    return image_key(plan, image, f"ground-{core:05d}")


def canvas_key(plan: RenderPlan, image: int, phase: int) -> str:
    """Proof that the canvas before *phase* is complete, with its quality; see ``app.canvas``."""
    return image_key(plan, image, f"canvas-{phase}.json")


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a unit of work; two runs of one unit mean it was rendered twice.

    From the moment when its worker took it up until its blob was stored: seconds in which a model
    was loaded first are among them, unlike among those that predictions learn from.

    Kept in the name of an empty blob, so that a listing tells all of them.
    """

    unit: str
    worker: str
    started_ms: int
    seconds: float

    def key(self, plan: RenderPlan) -> str:
        milliseconds = round(self.seconds * 1000)
        name = f"{self.started_ms}.{milliseconds}.{self.worker}"
        return f"{run_prefix(plan)}{self.unit}/{name}"

    @classmethod
    def parse(cls, plan: RenderPlan, key: str) -> Run:
        unit, _, name = key.removeprefix(run_prefix(plan)).rpartition("/")
        started_ms, milliseconds, worker = name.split(".", maxsplit=2)
        return cls(unit, worker, int(started_ms), int(milliseconds) / 1000)

    @property
    def stage(self) -> Stage:
        name = self.unit.split("/")[-1]
        return next(stage for stage in Stage if name.startswith(stage))


def run_prefix(plan: RenderPlan) -> str:
    return f"runs/{plan.hash}/"


def unit_name(plan: RenderPlan, work: Work) -> str:
    """The unit's name within its plan: ``image-0000/phase-0/tile-00007``."""
    return work.key(plan).split("/", maxsplit=2)[2]


def image_work(plan: RenderPlan, image: int) -> Iterator[tuple[Work, ...]]:
    """All work of one image, one group after the other; a group's members are independent."""
    if plan.base is not None:
        yield (Work(Stage.BASE, image),)
    yield (Work(Stage.PREPARE, image),)
    for number, phase in enumerate(plan.phases):
        yield tuple(Work(Stage.TILE, image, number, index) for index in phase.indices)
        yield (Work(Stage.MERGE, image, number),)
    if plan.decode.freezes_statistics:
        yield (Work(Stage.HEAD, image),)
    yield tuple(Work(Stage.CORE, image, index=index) for index in plan.decode.indices)
    yield (Work(Stage.PICTURE, image),)


def work_of(plan: RenderPlan) -> Iterator[tuple[Work, ...]]:
    """All work of *plan*, the same group of every image together."""
    for groups in zip(*(image_work(plan, image) for image in range(plan.spec.count)), strict=True):
        yield tuple(chain.from_iterable(groups))


def next_of_image(plan: RenderPlan, image: int, keys: Collection[str]) -> tuple[Work, ...]:
    """What can be done now for *image*: the unfinished members of its first unfinished group.

    *keys* are the image's blobs that exist. Empty when its picture is there: that needs none of
    its earlier blobs, they may have been removed.
    """
    if Work(Stage.PICTURE, image).key(plan) in keys:
        return ()
    for group in image_work(plan, image):
        if missing := tuple(work for work in group if work.key(plan) not in keys):
            return missing
    return ()


def waits_for_workers(plan: RenderPlan, image: int, exists: Callable[[Work], bool]) -> bool:
    """Whether a unit that workers render is missing before all else, by one unit of each group.

    Of a group of workers that is the one sent last; all other groups have but one. Where it does
    not wait for them, :func:`next_of_image` knows what is next: that takes all keys.
    """
    if exists(Work(Stage.PICTURE, image)):
        return False
    for group in image_work(plan, image):
        if group and not exists(_sent_last(plan, group)):
            return group[0].stage in WORKER_STAGES
    return False


def _sent_last(plan: RenderPlan, group: Sequence[Work]) -> Work:
    """The unit of *group* that dispatchers send after the others: large ones go first."""
    if group[0].stage is Stage.CORE:  # tiles are all of one size
        return min(reversed(group), key=lambda work: plan.decode.cores[work.index].area)
    return group[-1]


def next_work(plan: RenderPlan, keys: Collection[str]) -> tuple[Work, ...]:
    """What can be done now for the images that lag behind most, all of one group.

    Empty when every picture is there.
    """
    groups = [next_of_image(plan, image, keys) for image in range(plan.spec.count)]
    unfinished = [group for group in groups if group]
    if not unfinished:
        return ()
    places = {place: number for number, place in enumerate(_places(plan))}
    first = min(places[group[0].stage, group[0].phase] for group in unfinished)
    return tuple(
        work
        for group in unfinished
        for work in group
        if places[group[0].stage, group[0].phase] == first
    )


def _places(plan: RenderPlan) -> list[tuple[Stage, int]]:
    """Stage and phase of every group, in order."""
    return [(group[0].stage, group[0].phase) for group in image_work(plan, 0)]


def pictures_in(plan: RenderPlan, keys: Collection[str]) -> list[int]:
    """The images whose picture is among *keys*."""
    images = range(plan.spec.count)
    return [image for image in images if Work(Stage.PICTURE, image).key(plan) in keys]


@dataclass(frozen=True, slots=True)
class Progress:
    """Units done and planned, of all stages."""

    done: int
    total: int
    stage: Stage | None
    """The stage in progress; ``None`` when every picture is there."""


def progress(plan: RenderPlan, keys: Collection[str]) -> Progress:
    """How far the blobs in *keys* have come."""
    units = [work for group in work_of(plan) for work in group]
    missing = next_work(plan, keys)
    if not missing:
        return Progress(len(units), len(units), None)
    done = sum(work.key(plan) in keys for work in units)
    return Progress(done, len(units), missing[0].stage)
