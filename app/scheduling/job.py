"""One open job as the dispatcher sees it: what is done, on its way, and ready to be sent."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from app.domain.plan import RenderPlan
from app.domain.scheduling.line import Waiting
from app.domain.work import WORKER_STAGES, Stage, Work, image_name, image_work, next_of_image
from app.entries import Entry
from app.jobs import present_keys
from app.storage.port import BlobStore


@dataclass(slots=True)
class Flight:
    """A unit that was sent and is not known to be done; times by the dispatcher's clock."""

    pool: str
    sent_s: float
    seconds: float
    """Predicted."""
    attempt: int = 0
    unseen_since_s: float | None = None
    """When it was found in no queue and with no node."""


class OpenJob:
    """The state of one job; all of it can be read again from plan and blobs.

    Of many pictures only a group is open at a time: the first ones are finished first.
    """

    def __init__(self, entry: Entry, plan: RenderPlan, group: int) -> None:
        self.entry = entry
        self.plan = plan
        self.flying: dict[Work, Flight] = {}
        self.control_since: dict[int, float] = {}
        """Images that wait for the control worker, and since when."""
        self.asked_s: dict[int | None, float] = {}
        """When the control worker was asked to look at an image, or at the whole job."""
        self._group = group
        self._known: dict[int, set[str]] = {}
        self._places: dict[int, tuple[Stage, int]] = {}
        self._ready: dict[int, deque[Work]] = {}
        self._unopened: deque[int] = deque()

    @property
    def waiting(self) -> Waiting:
        """How the job stands in line."""
        entry = self.entry
        deadline_s = entry.deadline_ms / 1000 if entry.deadline_ms is not None else None
        accepted_s = entry.accepted_ms / 1000
        return Waiting(entry.job_id, entry.tenant, entry.priority, accepted_s, deadline_s)

    @property
    def is_complete(self) -> bool:
        """Whether every picture is there."""
        return not self._known and not self._unopened

    @property
    def ready_units(self) -> int:
        return sum(len(units) for units in self._ready.values())

    @property
    def pending_units(self) -> int:
        """Units of the stages in work that are not done; later stages are not counted."""
        return self.ready_units + len(self.flying)

    @property
    def unopened(self) -> int:
        """Pictures that nobody works on yet."""
        return len(self._unopened)

    def groups_left(self) -> Iterator[Sequence[Work]]:
        """What is left to do for the pictures in work, group by group."""
        for image in list(self._known):
            here = [*self._ready[image], *self._flying_of(image)]
            yield here
            groups = [*image_work(self.plan, image)]
            places = [(group[0].stage, group[0].phase) for group in groups]
            yield from groups[places.index(self._places[image]) + 1 :]

    def load(self, store: BlobStore, now_s: float) -> None:
        """Read which blobs exist; what is on its way stays so unless it is done."""
        keys = _by_image(self.plan, present_keys(store, self.plan))
        unfinished = [
            image
            for image in range(self.plan.spec.count)
            if Work(Stage.PICTURE, image).key(self.plan) not in keys[image]
        ]
        self._unopened = deque(unfinished[self._group :])
        opened = set(unfinished[: self._group])
        for image in set(self._known) - opened:
            self._close(image)
        for image in opened:
            self._look(image, keys[image], now_s)

    def refresh(self, store: BlobStore, images: Collection[int], now_s: float) -> None:
        """Read again what exists of some images."""
        for image in images:
            if image in self._known:
                self._look(image, present_keys(store, self.plan, image), now_s)
        while self._unopened and len(self._known) < self._group:
            image = self._unopened.popleft()
            self._look(image, present_keys(store, self.plan, image), now_s)

    def done(self, work: Work, now_s: float) -> Flight | None:
        """Note that *work*'s blob exists; its flight if it was one."""
        flight = self.flying.pop(work, None)
        if work.image in self._known:
            known = self._known[work.image]
            known.add(work.key(self.plan))
            if not self._ready[work.image] and not self._flying_of(work.image):
                self._look(work.image, known, now_s)
        return flight

    def next_stage(self) -> Stage | None:
        """The stage of the units that ``take`` would give."""
        return next((units[0].stage for units in self._ready.values() if units), None)

    def ready(self) -> Iterator[Work]:
        """Units that can be sent, in the order of their images."""
        for image in sorted(self._ready):
            yield from self._ready[image]

    def take(self, count: int) -> list[Work]:
        """Up to *count* ready units of one stage and phase, the earliest image's first."""
        taken: list[Work] = []
        for image in sorted(self._ready):
            units = self._ready[image]
            while units and len(taken) < count and _are_alike(units[0], taken):
                taken.append(units.popleft())
        return taken

    def give_back(self, units: Collection[Work]) -> None:
        """Make units ready again, before all others of their image."""
        for work in sorted(units, reverse=True):
            self.flying.pop(work, None)
            if work.image in self._ready and work not in self._ready[work.image]:
                self._ready[work.image].appendleft(work)

    def _look(self, image: int, keys: set[str], now_s: float) -> None:
        group = next_of_image(self.plan, image, keys)
        for work in self._flying_of(image):
            if work not in group:
                del self.flying[work]
        if not group:
            self._close(image)
            return
        self._known[image] = keys
        self._places[image] = group[0].stage, group[0].phase
        is_ours = group[0].stage in WORKER_STAGES
        units = [work for work in group if work not in self.flying] if is_ours else []
        self._ready[image] = deque(units)
        if is_ours:
            self.control_since.pop(image, None)
        else:
            self.control_since.setdefault(image, now_s)

    def _close(self, image: int) -> None:
        self._known.pop(image, None)
        self._places.pop(image, None)
        self._ready.pop(image, None)
        self.control_since.pop(image, None)
        for work in self._flying_of(image):
            del self.flying[work]

    def _flying_of(self, image: int) -> list[Work]:
        return [work for work in self.flying if work.image == image]


def _are_alike(work: Work, taken: list[Work]) -> bool:
    return not taken or (work.stage, work.phase) == (taken[0].stage, taken[0].phase)


def _by_image(plan: RenderPlan, keys: Collection[str]) -> dict[int, set[str]]:
    names = {image_name(image): image for image in range(plan.spec.count)}
    found: dict[int, set[str]] = defaultdict(set)
    for key in keys:
        image = names.get(key.split("/")[2])
        if image is not None:
            found[image].add(key)
    return found
