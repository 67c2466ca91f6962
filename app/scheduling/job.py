"""One open job as the dispatcher sees it: what is done, on its way, and ready to be sent."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice

from app.domain.errors import RenderFailedError
from app.domain.plan import RenderPlan
from app.domain.scheduling.line import Waiting
from app.domain.scheduling.slices import longest_first
from app.domain.spec import Priority
from app.domain.work import (
    JOINED_STAGES,
    OPENING_STAGES,
    WORKER_STAGES,
    Stage,
    Work,
    image_work,
    next_of_image,
)
from app.entries import Entry
from app.jobs import MOST_MENDED, present_keys
from app.scheduling.shapes import size_of
from app.storage.port import BlobStore

_FOLDER = "image-"
_WITHOUT_CALLBACK = frozenset(WORKER_STAGES) - frozenset(JOINED_STAGES)


@dataclass(slots=True)
class Flight:
    """A unit that was sent and is not known to be done; times by the dispatcher's clock."""

    pool: str
    sent_s: float
    seconds: float = 0.0
    """Predicted."""
    attempt: int = 0
    unseen_since_s: float | None = None
    """When it was found in no queue and with no node."""
    node: str = ""
    """The node it was sent to; empty when it is in the pool's shared queue."""
    level: Priority = Priority.NORMAL
    """Of its message: the job's may have changed since."""
    number: int = 0
    """Of its slice, as they were sent; 0 where another dispatcher or a worker sent it."""
    charged: tuple[str, float] = "", 0.0
    """Pool and seconds that its tenant was charged; sent again it may go elsewhere, and is not
    charged once more."""

    @property
    def lane(self) -> str:
        """Whose queue it was put into."""
        return self.node or self.pool


class OpenJob:
    """The state of one job; all of it can be read again from plan and blobs.

    Of many pictures only a group is open at a time: the first ones are finished first.
    *is_new*: whether nobody can have sent any of its units yet.
    """

    def __init__(self, entry: Entry, plan: RenderPlan, group: int, *, is_new: bool = False) -> None:
        self.entry = entry
        self.plan = plan
        self.flying: dict[Work, Flight] = {}
        self.control_since: dict[int, float] = {}
        """Images that wait for the control worker, and since when."""
        self.steps: dict[int, tuple[Work, float]] = {}
        """What it does for them, and since when, where the last unit before it was heard of."""
        self.asked_s: dict[int | None, float] = {}
        """When the control worker was asked to look at an image, or at the whole job."""
        self._group = group
        self._is_new = is_new
        self._known: dict[int, set[str]] = {}
        self._lost = Counter[Work]()
        self._places: dict[int, tuple[Stage, int]] = {}
        self._ready: dict[int, deque[Work]] = {}
        self._unopened: deque[int] = deque()
        self._outline = [(units[0], len(units)) for units in image_work(plan, 0) if units]
        self._order = [(unit.stage, unit.phase) for unit, _ in self._outline]
        self._alike = {(unit.stage, unit.phase): unit for unit, _ in self._outline}

    def waiting(self, waited_s: float) -> Waiting:
        """How the job stands in line, after *waited_s* without being served."""
        entry = self.entry
        deadline_s = entry.deadline_ms / 1000 if entry.deadline_ms is not None else None
        accepted_s = entry.accepted_ms / 1000
        return Waiting(entry.job_id, entry.tenant, entry.priority, accepted_s, deadline_s, waited_s)

    @property
    def is_complete(self) -> bool:
        """Whether every picture is there."""
        return not self._known and not self._unopened

    @property
    def unfinished(self) -> set[int]:
        """Images whose pictures are not there."""
        return {*self._known, *self._unopened}

    @property
    def ready_units(self) -> int:
        return sum(len(units) for units in self._ready.values())

    @property
    def pending_units(self) -> int:
        """Units of the stages in work that are not done; later stages are not counted."""
        return self.ready_units + len(self.flying)

    def left(self) -> list[tuple[Work, int]]:
        """What workers have yet to do, stage after stage: a unit, and how many are like it."""
        counts = Counter(self.like(work) for work in self.flying)
        for front in self.fronts():
            counts.update(dict(front))
        return [(unit, counts[unit]) for unit, _ in self._outline if counts[unit]]

    def fronts(self) -> list[list[tuple[Work, int]]]:
        """What workers have yet to be sent for the images at one place, for every such place.

        Stage after stage from there on: a unit, and how many are like it.
        """
        places = self._order
        first = len(self._unopened)
        images, ready = Counter({0: first}), Counter({0: first * self._outline[0][1]})
        for image, place in self._places.items():
            images[places.index(place)] += 1
            ready[places.index(place)] += len(self._ready[image])
        return [
            [
                (unit, images[place] * count if number else ready[place])
                for number, (unit, count) in enumerate(self._outline[place:])
                if unit.stage in WORKER_STAGES
            ]
            for place in sorted(+images)  # those with any
        ]

    def control_left(self) -> list[tuple[Work, int]]:
        """Steps of the control worker that workers have yet to wait for, each with how often.

        Of images in work at once those of the one that is furthest behind: workers go on with the
        others meanwhile. Where one is in work at a time, those of every image.
        """
        images = Counter(self._order.index(place) for place in self._places.values())
        images[0] += len(self._unopened)
        left, before = [], 0
        for place, (unit, _) in enumerate(self._outline):
            before += images[place]
            if before and unit.stage not in WORKER_STAGES:
                left.append((unit, before if self._group == 1 else 1))
        return left

    def waited_s(self, now_s: float) -> float:
        """How long the image that is furthest behind has been waiting for the control worker."""
        last = min(self._places.values(), key=self._order.index, default=None)
        if last is None or self._unopened or last[0] in WORKER_STAGES:
            return 0.0
        images = [image for image, place in self._places.items() if place == last]
        since = [max(self.control_since[one], self.asked_s.get(one, -math.inf)) for one in images]
        return now_s - max(since)

    def like(self, work: Work) -> Work:
        """The unit that stands for all those of its stage and phase where units are counted."""
        return self._alike[work.stage, work.phase]

    def load(self, store: BlobStore, now_s: float) -> None:
        """Read which blobs exist; what is on its way stays so unless it is done."""
        keys = _by_image(present_keys(store, self.plan))
        unfinished = [
            image
            for image in range(self.plan.spec.count)
            if Work(Stage.PICTURE, image).key(self.plan) not in keys[image]
        ]
        self._unopened = deque(unfinished[self._group :])
        opened = unfinished[: self._group]
        for image in set(self._known) - set(opened):
            self._close(image)
        for image in opened:
            self._look(image, keys[image], now_s)

    def refresh(
        self,
        store: BlobStore,
        images: Collection[int],
        now_s: float,
        done: Collection[Work] = (),
    ) -> None:
        """Note that the control worker has *done* these, and read again what exists of *images*.

        Not of those whose state follows from what was done: to list them costs more than to merge
        small ones.
        """
        for image in images:
            if image in self._known:
                self._look(image, self._keys_after(store, image, done), now_s)
        while self._unopened and len(self._known) < self._group:
            image = self._unopened[0]
            keys = present_keys(store, self.plan, image)
            self._unopened.popleft()  # not before: the store may be away
            self._look(image, keys, now_s)

    def done(self, work: Work, now_s: float) -> Flight | None:
        """Note that *work*'s blob exists; its flight if it was one."""
        flight = self.flying.pop(work, None)
        if work.image in self._known:
            known, ready = self._known[work.image], self._ready[work.image]
            known.add(work.key(self.plan))
            if flight is None and work in ready:  # another job with the same plan made it
                ready.remove(work)
            if not ready and not self._flying_of(work.image):
                self._look(work.image, known, now_s)
                if self.control_since.get(work.image) == now_s:  # since now, not since a listing
                    stage, phase = self._places[work.image]
                    self.steps[work.image] = Work(stage, work.image, phase), now_s
        return flight

    def open_images(self, pool: str, stages: Collection[Stage]) -> set[int]:
        """Images with units of *stages* for *pool* to be sent, or that it opens just now."""
        rendered = set(stages).difference(OPENING_STAGES)
        ready = {
            image for image, units in self._ready.items() if units and units[0].stage in rendered
        }
        return ready | {
            work.image
            for work, flight in self.flying.items()
            if work.stage in OPENING_STAGES and flight.pool == pool
        }

    def ready_stages(self) -> list[Stage]:
        """Stages of the units that can be sent, the earliest image's first."""
        stages = [
            self._ready[image][0].stage for image in sorted(self._ready) if self._ready[image]
        ]
        return list(dict.fromkeys(stages))

    def ready(self) -> Iterator[Work]:
        """Units that can be sent, in the order of their images."""
        for image in sorted(self._ready):
            yield from self._ready[image]

    def has_ready(self, image: int) -> bool:
        """Whether units of *image* can be sent."""
        return bool(self._ready.get(image))

    def first(self, stages: Collection[Stage]) -> Work:
        """A ready unit of *stages*, the earliest image's; there must be one."""
        waiting = (self._ready[image] for image in sorted(self._ready) if self._ready[image])
        return next(units[0] for units in waiting if units[0].stage in stages)

    def ready_of(self, stages: Collection[Stage]) -> int:
        """How many units of *stages* are ready."""
        return sum(
            len(units) for units in self._ready.values() if units and units[0].stage in stages
        )

    def take(self, count: int, stages: Collection[Stage], pool: str, now_s: float) -> list[Work]:
        """Up to *count* ready units of one stage and phase, which fly from now on.

        The longest first, so that none of them is begun last; equal ones in the order of images.
        """
        images = [
            image
            for image in sorted(self._ready)
            if self._ready[image] and self._ready[image][0].stage in stages
        ]
        places = [self._places[image] for image in images]
        alike = [self._ready[image] for image in images if self._places[image] == places[0]]
        taken = list(islice(merge(*alike, key=lambda work: -size_of(self.plan, work)), count))
        for work in taken:
            self._ready[work.image].popleft()
            self.flying[work] = Flight(pool, now_s)
        return taken

    def adopt(self, work: Work, flight: Flight) -> None:
        """Note that somebody works on a unit that was taken for ready."""
        if work in self._ready.get(work.image, ()):
            self._ready[work.image].remove(work)
            self.flying[work] = flight

    def give_back(self, units: Collection[Work]) -> None:
        """Make units ready again unless they are done."""
        for work in sorted(units, reverse=True):
            self.flying.pop(work, None)
            ready = self._ready.get(work.image, deque())
            is_next = self._places.get(work.image) == (work.stage, work.phase)
            if is_next and work not in ready and work.key(self.plan) not in self._known[work.image]:
                self._ready[work.image] = self._sorted([work, *ready])

    def _look(self, image: int, keys: set[str], now_s: float) -> None:
        group = set(members := next_of_image(self.plan, image, keys))
        self._count_lost(image, members)
        for work in self._flying_of(image):
            if work not in group:
                del self.flying[work]
        if not members:
            self._close(image)
            return
        # Another order has rendered all of it: no callback of this job's will ask for the merge.
        stage, _ = self._places.get(image, (None, 0))
        is_unasked = self._is_new if stage is None else stage in _WITHOUT_CALLBACK
        self._known[image] = keys
        self._places[image] = members[0].stage, members[0].phase
        is_ours = members[0].stage in WORKER_STAGES
        units = [work for work in members if work not in self.flying] if is_ours else []
        self._ready[image] = self._sorted(units)
        if is_ours:
            self._end_step(image)
        else:
            self.control_since.setdefault(image, -math.inf if is_unasked else now_s)

    def _count_lost(self, image: int, missing: Collection[Work]) -> None:
        """Count blobs that were there. Raises ``RenderFailedError`` for one that is lost each time.

        Who reads a unit's blobs and misses one counts that in the store; of these nobody has.
        """
        before = self._known.get(image, ())
        for work in missing:
            if work.key(self.plan) in before:
                times = self._lost[work] = self._lost[work] + 1
                if times > MOST_MENDED:
                    raise RenderFailedError(f"{work.label} was stored and lost {times} times")

    def _keys_after(self, store: BlobStore, image: int, done: Collection[Work]) -> set[str]:
        """The image's keys, once *done* are; read where that leaves something before them."""
        places = self._order
        known = [
            work for work in done if work.image == image and (work.stage, work.phase) in places
        ]
        keys = self._known[image] | {work.key(self.plan) for work in known}
        last = max((places.index((work.stage, work.phase)) for work in known), default=len(places))
        following = next_of_image(self.plan, image, keys)
        if following and places.index((following[0].stage, following[0].phase)) <= last:
            return present_keys(store, self.plan, image)
        return keys

    def _sorted(self, units: Collection[Work]) -> deque[Work]:
        return deque(longest_first(units, lambda work: size_of(self.plan, work)))

    def _close(self, image: int) -> None:
        self._known.pop(image, None)
        self._places.pop(image, None)
        self._ready.pop(image, None)
        self._end_step(image)
        for work in self._flying_of(image):
            del self.flying[work]

    def _end_step(self, image: int) -> None:
        self.control_since.pop(image, None)
        self.steps.pop(image, None)

    def _flying_of(self, image: int) -> list[Work]:
        return [work for work in self.flying if work.image == image]


def _by_image(keys: Collection[str]) -> dict[int, set[str]]:
    """*keys* by image: its number is the name of the folder below a plan's or a series'."""
    found: dict[int, set[str]] = defaultdict(set)
    for key in keys:
        folder = key.split("/")[2]
        if folder.startswith(_FOLDER):
            found[int(folder.removeprefix(_FOLDER))].add(key)
    return found
