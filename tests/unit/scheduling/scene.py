"""An installation without servers, for tests of the dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.errors import BrokerUnavailableError
from app.domain.plan import RenderPlan
from app.domain.spec import Priority
from app.domain.work import Stage, Work, image_work
from app.entries import Entry
from app.jobs import JobLedger
from app.live.memory import MemoryBoard
from app.scheduling.dispatcher import Dispatcher
from app.scheduling.line import Clock
from app.scheduling.publishing import Depth, Publisher, Slice
from app.schemas import RenderRequest, read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.support.clock import HandClock
from tests.unit.domain.cards import plan as plan_of

SMALL = {"height": 1024, "width": 1024}
TILES = 9
"""Tiles of a picture of ``SMALL``."""


@dataclass
class Sent:
    """A slice that was published."""

    job_id: str
    slice: Slice
    pool: str

    @property
    def units(self) -> tuple[Work, ...]:
        return self.slice.units


@dataclass
class FakePublisher(Publisher):
    """Remembers what was sent; its queues are as long as a test says."""

    runtime: Runtime
    ready: dict[str, int] = field(default_factory=dict)
    consumers: int = 1
    slices: list[Sent] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    advances: list[tuple[str, Sequence[int] | None]] = field(default_factory=list)
    is_down: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.runtime)

    def depth(self, pool: str, node: str = "") -> Depth:
        return Depth(self.ready.get(node or pool, 0), self.consumers)

    def send_slice(self, job_id: str, plan: RenderPlan, sent: Slice) -> None:
        if self.is_down:
            raise BrokerUnavailableError("broker does not answer")
        pool = sent.pool or self.pool_of(plan, sent.units[0].stage)
        self.slices.append(Sent(job_id, sent, pool))

    def send_plan(self, job_id: str, request: object, priority: Priority) -> None:
        self.plans.append(job_id)

    def send_advance(
        self, job_id: str, priority: Priority, images: Sequence[int] | None = None
    ) -> None:
        self.advances.append((job_id, images))

    def units(self) -> list[Work]:
        return [work for sent in self.slices for work in sent.units]


class Scene:
    """One installation; *settings* as an operator would set them."""

    def __init__(self, **settings: object) -> None:
        values = {"broker_url": "amqp://localhost//", "heartbeat_s": 2.0, "slice_units": 4}
        self.hand = HandClock()
        self.store = MemoryStore()
        self.board = MemoryBoard(self.hand)
        chosen = Settings.model_validate(values | settings)
        ledger = JobLedger(self.store)
        self.runtime = Runtime(chosen, self.store, ledger, Catalogue([]), self.board)
        self.publisher = FakePublisher(self.runtime)
        self.dispatcher = self.another()
        self.told: list[dict[str, object]] = []

    def another(self, *, is_adopting: bool = True) -> Dispatcher:
        """A dispatcher that knows nothing yet."""
        clock = Clock(self.hand, self.hand)
        return Dispatcher(self.runtime, self.publisher, clock, is_adopting=is_adopting)

    def accept(
        self,
        job_id: str = "job",
        *,
        tenant: str = "default",
        priority: Priority = Priority.NORMAL,
        deadline_s: float | None = None,
        ahead_s: float = 0.0,
        is_opened: bool = True,
        **changes: object,
    ) -> RenderPlan:
        """Put a planned job in line; its tiles are next, or its bases if it is not opened."""
        self.submit(
            job_id, tenant=tenant, priority=priority, deadline_s=deadline_s, ahead_s=ahead_s
        )
        plan = plan_of(**(SMALL | {"prompt": job_id} | changes))
        self.runtime.ledger.accept(job_id, self.request(tenant), plan)
        for image in range(plan.spec.count) if is_opened else ():
            self.finish(plan, image, Stage.BASE, Stage.PREPARE)
        return plan

    def submit(
        self,
        job_id: str,
        *,
        tenant: str = "default",
        priority: Priority = Priority.NORMAL,
        deadline_s: float | None = None,
        ahead_s: float = 0.0,
    ) -> None:
        """Put a job in line that nobody has planned; its client's clock is *ahead_s*."""
        self.runtime.ledger.submit(job_id, self.request(tenant))
        now_ms = round((self.hand.now_s + ahead_s) * 1000)
        deadline_ms = None if deadline_s is None else round(deadline_s * 1000)
        self.runtime.entries.add(Entry(job_id, now_ms, priority, tenant, deadline_ms))

    def request(self, tenant: str = "default") -> RenderRequest:
        return read_request({"prompt": "a map", "tenant": tenant})

    def finish(self, plan: RenderPlan, image: int, *stages: Stage) -> None:
        """Write the blobs of whole stages."""
        for group in image_work(plan, image):
            if group[0].stage in stages:
                for work in group:
                    self.store.put(work.key(plan), b"{}")

    def rendered(
        self,
        job_id: str,
        plan: RenderPlan,
        work: Work,
        *,
        seconds: float = 1.0,
        node: str = "w1@a",
        status: str = "rendered",
        **more: object,
    ) -> None:
        """Write the unit's blob, if it was rendered, and tell of it as its worker would."""
        if status == "rendered":
            self.store.put(work.key(plan), b"{}")
        where = {"stage": work.stage, "image": work.image, "phase": work.phase, "index": work.index}
        event = {"kind": "unit", "status": status, "job_id": job_id, "plan_hash": plan.hash}
        cost = {"seconds": seconds, "device": "cpu", "model": "sd15", "node": node}
        self.told.append(event | where | cost | more)

    def node(
        self,
        name: str = "w1@a",
        *,
        current: tuple[str, RenderPlan, Work] | None = None,
        earlier: tuple[str, RenderPlan, Work] | None = None,
        elapsed_s: float = 0.0,
        **facts: object,
    ) -> None:
        """Show a node's heartbeat."""
        record: dict[str, object] = {"node": name, "pid": 1, "pool": "gpu", "device": "cpu"} | facts
        for place, shown in (("current", current), ("earlier", earlier)):
            if shown is not None:
                job_id, plan, work = shown
                unit = {"stage": work.stage, "image": work.image, "phase": work.phase}
                unit |= {"index": work.index, "more": facts.get("more", []), "elapsed_s": elapsed_s}
                record[place] = unit | {"job_id": job_id, "plan_hash": plan.hash}
        self.board.show("nodes", name, record, ttl_s=600)

    def round(self, after_s: float = 0.0, *, times: int = 1) -> list[Sent]:
        """What the dispatcher sends in *times* rounds, *after_s* before each."""
        before = len(self.publisher.slices)
        for _ in range(times):
            self.hand.now_s += after_s
            told, self.told = self.told, []
            self.dispatcher.run_round([*self.board.listen(0), *told])
        return self.publisher.slices[before:]

    def with_settings(self, **changes: object) -> None:
        """Let another dispatcher go on under other settings."""
        chosen = self.runtime.settings.model_copy(update=changes)
        self.runtime = replace(self.runtime, settings=chosen)
        self.publisher.runtime = self.publisher._runtime = self.runtime
        self.dispatcher = self.another()


def short_queue() -> Scene:
    """One worker, units of 1 s that nobody has rendered yet: the queue is to hold four."""
    scene = Scene(lookahead_s=4.0, slice_units=2)
    scene.node()
    return scene


def tiles(count: int, image: int = 0) -> list[Work]:
    return [Work(Stage.TILE, image, 0, index) for index in range(count)]
