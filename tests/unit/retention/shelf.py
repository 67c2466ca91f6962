"""An installation whose jobs are at any point of their lives, for tests of what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from app import workflow
from app.bootstrap import Runtime
from app.cards import Catalogue
from app.domain.plan import RenderPlan
from app.domain.retention import Removal, RetentionRules
from app.domain.work import WORKER_STAGES, Run, Stage, next_work, series_prefix, unit_name
from app.entries import KEEPER, entry_of
from app.jobs import JobLedger, present_keys
from app.live.memory import MemoryBoard
from app.retention.cleaning import Cleaned, Cleaner
from app.schemas import Manifest, RenderRequest, read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.unit.workflow.scene import finish_units

AT_ONCE = RetentionRules(intermediates_ttl_s=0, results_ttl_s=0, max_store_bytes=0)
DAY_S = 86400.0
RESULTS_TOO = replace(AT_ONCE, results_ttl_s=DAY_S)


class WatchedStore(MemoryStore):
    """Calls back before each blob that is removed."""

    def __init__(self) -> None:
        super().__init__()
        self.before_delete: Callable[[str], None] = lambda key: None

    def delete(self, key: str) -> None:
        self.before_delete(key)
        super().delete(key)


class Shelf:
    """A store, and jobs in it."""

    def __init__(self, catalogue: Catalogue, **settings: object) -> None:
        chosen = Settings.model_validate(
            {"model": "tiny", "broker_url": "amqp://localhost//"} | settings
        )
        self.store = WatchedStore()
        self.ledger = JobLedger(self.store)
        self.runtime = Runtime(chosen, self.store, self.ledger, catalogue, MemoryBoard())

    def order(self, job_id: str, **fields: object) -> Manifest | None:
        """Put a job in line and plan it, as a control worker would; closed if answered at once."""
        request = request_of(**fields)
        self.ledger.submit(job_id, request)
        self.runtime.entries.add(entry_of(job_id, request))
        manifest = workflow.start(self.runtime, job_id, request)
        if manifest is not None:
            self.runtime.entries.close(job_id)
        return manifest

    def work(self, job_id: str, *, until: Stage | None = None) -> int:
        """Do what workers do, up to a stage or to the end; how many units that was."""
        plan, done = self.ledger.plan(job_id), 0
        while missing := next_work(plan, present_keys(self.store, plan)):
            if missing[0].stage is until:
                return done
            if missing[0].stage in WORKER_STAGES:
                finish_units(self.runtime, plan, missing)
                for work in missing:
                    run = Run(unit_name(plan, work), "w1", 1000, 1.0)
                    self.store.put(run.key(plan), b"")
                done += len(missing)
            workflow.advance(self.runtime, job_id)
        return done

    def finish(self, job_id: str, **fields: object) -> Manifest:
        """Order and render."""
        self.order(job_id, **fields)
        self.work(job_id)
        workflow.advance(self.runtime, job_id)
        self.runtime.entries.close(job_id)
        return self.ledger.result(job_id)

    def cancel(self, job_id: str) -> None:
        self.ledger.cancel(job_id)
        self.runtime.entries.close(job_id)

    def let_pass(self, seconds: float) -> None:
        """Everything in the store is that much older."""
        for key in self.store._modified_s:
            self.store._modified_s[key] -= seconds

    def choose(self, rules: RetentionRules = AT_ONCE) -> list[Removal]:
        self.let_pass(1)  # nothing is as young as now
        return Cleaner(self.runtime).choose(rules)

    def clean(self, rules: RetentionRules = AT_ONCE) -> Cleaned:
        """Choose and remove, looking at who came before each blob."""
        self.let_pass(1)
        cleaner = Cleaner(self.runtime, look_s=0)
        return cleaner.remove(cleaner.choose(rules))

    def plan(self, job_id: str) -> RenderPlan:
        return self.ledger.plan(job_id)

    def blobs(self, prefix: str = "") -> list[str]:
        """Keys in the store but the one that keeps the line's folder."""
        return [key for key in self.store.keys(prefix) if key != KEEPER]

    def made_from(self, plan: RenderPlan) -> list[str]:
        return self.blobs(series_prefix(plan))


def request_of(**fields: object) -> RenderRequest:
    small = {"prompt": "a map", "height": 128, "width": 128, "nsr": 0.25}  # one phase, few tiles
    return read_request(small | fields)


def names(chosen: Sequence[Removal]) -> set[tuple[str, str]]:
    return {(str(removal.what), removal.name) for removal in chosen}


def deletes_of(shelf: Shelf, rules: RetentionRules = RESULTS_TOO) -> int:
    """How many blobs a cleaning removes, its marks included; it is carried out."""
    count: list[str] = []
    shelf.store.before_delete = count.append
    shelf.clean(rules)
    shelf.store.before_delete = lambda key: None
    return len(count)


def ended(shelf: Shelf, how: str) -> Shelf:
    """A job whose blobs may all go."""
    if how == "cancelled":
        shelf.order("old")
        shelf.work("old", until=Stage.CORE)
        shelf.cancel("old")
    else:
        shelf.finish("old")
        shelf.let_pass(2 * DAY_S)
    return shelf
