"""A message's units of work, one or a batch: skipped when done, recorded when they ran."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NoReturn

from app.ahead import THREADS, NextMessage
from app.attempts import Attempts, Step
from app.domain.errors import (
    DeviceOutOfMemoryError,
    NotFoundError,
    RenderCancelledError,
    RenderError,
    RenderFailedError,
    TransientError,
    is_outage,
    reason_of,
)
from app.domain.plan import RenderPlan
from app.domain.work import Outcome, Work, plan_key, unit_name
from app.exits import exit_for_good
from app.jobs import JobLedger
from app.own_node import OwnNode
from app.patience import Patience, WorkerStoppingError, nothing
from app.repair import UNREADABLE, mend
from app.schemas import WorkMessage, read_plan
from app.storage.port import BlobStore
from app.telemetry import metrics
from workers.errand import Delivery, Errand
from workers.faults import DeviceLostError, device_errors
from workers.keeping import Keeper, Rendered
from workers.pace import Pace
from workers.storing import Storing
from workers.turns import Turns
from workers.watch import JobWatch

if TYPE_CHECKING:
    from workers.renderer import Renderer

log = logging.getLogger(__name__)


class Executor:
    """Executes messages; of those at hand one renders, for model and device are shared."""

    def __init__(
        self,
        store: BlobStore,
        ledger: JobLedger,
        renderer: Renderer,
        device: str,
        *,
        attempts: Attempts,
        patience: Patience,
        node: OwnNode | None = None,
        tell_all: Callable[[str], None] = lambda _job_id: None,
        exit_process: Callable[[], NoReturn] = exit_for_good,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._renderer = renderer
        self._device = device
        self._attempts = attempts
        self._patience = patience
        self._node = node or OwnNode()  # one that nobody sees
        self._tell_all = tell_all
        self._exit_process = exit_process
        self._watch = JobWatch(ledger)
        self._keeper = Keeper(store, self._node, device)
        self._pace = Pace()
        self._turns = Turns()
        self._threads = ThreadPoolExecutor(THREADS, "tilechord-storing")
        self._plan = lru_cache(maxsize=8)(self._read_plan)

    def tell_unwanted(self, job_id: str) -> None:
        """Look before the next step whether the job is still wanted."""
        self._watch.tell(job_id)

    def execute(self, message: WorkMessage, delivery: Delivery) -> dict[str, str]:
        """Render *message*'s units whose blobs are missing; the result is a key and a status.

        An expected failure is recorded and reported, not raised: one raising member would
        discard the chord's callback, and with it the reason. Raises ``StorageUnavailableError``
        when the store is away, which is no unit's failure, or when a failure cannot even be
        recorded; ``WorkerStoppingError`` when the worker stops between two attempts; ``BusyError``
        when another message has the renderer for too long.
        """
        # What somebody had before is rendered alone: nobody else is blamed if this process dies.
        ask = nothing if delivery.is_again else delivery.ask_next
        with NextMessage(ask) as next_message:
            errand = Errand(message, delivery, self._patience, self._watch, next_message)
            try:
                return self._execute(errand)
            except RenderCancelledError:
                return {"key": "", "status": Outcome.ABANDONED}
            except RenderError as err:
                if is_outage(err):
                    raise
                self.fail(message, err)
                return {"key": "", "status": Outcome.FAILED}

    def _execute(self, errand: Errand) -> dict[str, str]:
        message = errand.message
        try:
            plan = errand.attempt(lambda: self._plan(message.plan_hash))
        except NotFoundError:  # removed after the job had ended; an open one's is written again
            return {"key": "", "status": Outcome.GONE}
        key = message.work.key(plan)
        units = [work.key(plan) for work in message.works]
        # A copy is for somebody else than who has the unit; what comes again waits for its end.
        look = errand.patient_look() if message.attempt else errand.look
        with self._turns.claimed(units, look):
            missing = errand.attempt(lambda: self._missing(plan, errand))
            if not missing:
                metrics.unit_present(message.stage)
                return {"key": key, "status": Outcome.PRESENT}
            self._attempts.tidy()
            errand.check()
            return {"key": key, "status": self._render_all(plan, errand, missing)}

    def fail(self, message: WorkMessage, error: Exception, work: Work | None = None) -> None:
        """Record that *work* of *message* cannot be rendered; the job ends with this reason."""
        label = (work or message.work).label
        reason = reason_of(error)
        metrics.work_failed(message.stage, error)
        log.info("work.failed", extra={"job_id": message.job_id, "work": label, "reason": reason})
        # Not stopped by the job's end: it may be this failure that ends it.
        self._patience.attempt(lambda: self._ledger.fail(message.job_id, f"{label}: {reason}"))
        self._watch.tell(message.job_id)  # the other message here, also where the broker is away
        self._tell_all(message.job_id)

    def _missing(self, plan: RenderPlan, errand: Errand) -> Sequence[Work]:
        """Units without a blob. Others may have stored any of them: equal jobs form their own
        messages of the tiles they share."""
        works = errand.message.works
        return [work for work in works if not self._store.exists(work.key(plan))]

    def _render_all(self, plan: RenderPlan, errand: Errand, missing: Sequence[Work]) -> Outcome:
        """Render *missing* in parts that fit into memory; returns how they ended.

        A part is stored while the next is rendered. What somebody had before goes one by one: who
        dies of it then, dies of that unit.
        """
        with Storing(self._threads) as storing:
            render = partial(self._render_parts, plan, errand, missing, storing)
            # The next one waits until all is rendered, or goes to somebody who has nothing.
            end = self._turns.run(render, errand.patient_look())
            if end in (Outcome.RENDERED, Outcome.MOVED) and storing.wait() is Outcome.FAILED:
                return Outcome.FAILED
        return end

    def _render_parts(
        self, plan: RenderPlan, errand: Errand, missing: Sequence[Work], storing: Storing
    ) -> Outcome:
        self._node.begin(errand.message)
        is_again, end = errand.delivery.is_again, Outcome.RENDERED
        size = 1 if is_again else errand.message.together
        parts = deque(missing[start : start + size] for start in range(0, len(missing), size))
        while parts:
            part = parts.popleft()
            try:
                if is_again and self._is_deadly(plan, errand, part[0]):
                    return Outcome.QUARANTINED
                rendered = self._render(plan, errand, part)
            except RenderError as err:
                if isinstance(err, DeviceOutOfMemoryError) and len(part) > 1:
                    middle = len(part) // 2
                    parts.extendleft([part[middle:], part[:middle]])
                    continue
                end = self._given_up(plan, errand, part[0], err)
                if end is not Outcome.MOVED:  # others may fit
                    return end
            else:
                if not parts:
                    errand.next_message.ask()
                keep = partial(self._keep, plan, errand, rendered)
                if storing.begin(keep) is Outcome.FAILED:
                    return Outcome.FAILED
        return end

    def _given_up(
        self, plan: RenderPlan, errand: Errand, work: Work, error: RenderError
    ) -> Outcome:
        """How the message ends of which *work* cannot be rendered; raises what is no failure."""
        if isinstance(error, RenderCancelledError) or is_outage(error):
            raise error
        if isinstance(error, DeviceOutOfMemoryError) and errand.delivery.bigger_pool:
            return Outcome.MOVED
        if isinstance(error, UNREADABLE) and self._may_come_again(plan, errand, work, error):
            return Outcome.GONE
        self.fail(errand.message, error, work)
        return Outcome.FAILED

    def _render(self, plan: RenderPlan, errand: Errand, works: Sequence[Work]) -> Rendered:
        """Render *works* together."""

        def render() -> Rendered:
            taken_up_s = time.monotonic()
            steps = [Step.of(plan, work) for work in works]
            is_again = errand.delivery.is_again
            taken_up = self._attempts.recorded(steps) if is_again else nullcontext()
            with taken_up:
                return self._rendered(plan, errand, works, taken_up_s)

        def is_too_large(error: TransientError) -> bool:
            is_memory = isinstance(error, DeviceOutOfMemoryError)
            return is_memory and (len(works) > 1 or errand.delivery.bigger_pool is not None)

        return errand.attempt(render, is_final=is_too_large)

    def _rendered(
        self, plan: RenderPlan, errand: Errand, works: Sequence[Work], taken_up_s: float
    ) -> Rendered:
        def check() -> None:
            if self._node.is_leaving:
                raise WorkerStoppingError("this machine is leaving")
            errand.check()
            errand.next_message.look()

        errand.next_message.expect(math.inf)  # also where these were tried before
        try:
            with device_errors(self._device):
                check()  # it may have waited, and to load a model takes seconds
                self._renderer.load(plan, works[0].stage)
                began_s = time.monotonic()
                if works[-1] == errand.message.works[-1]:
                    errand.next_message.expect(self._pace.of(plan, works))
                if len(works) == 1:
                    blobs = [self._renderer.render(plan, works[0], check)]
                else:
                    blobs = self._renderer.render_tiles(plan, works, check)
                self._pace.note(plan, works, time.monotonic() - began_s)
                return Rendered(works, blobs, taken_up_s, began_s)
        except DeviceLostError as err:
            # Every further unit would fail too. The record of the attempt stays, as after a kill.
            log.critical("device.lost", extra={"work": works[0].label, "reason": str(err)})
            self._exit_process()

    def _keep(self, plan: RenderPlan, errand: Errand, rendered: Rendered) -> Outcome:
        """Keep what was rendered; a failure for good ends the job with its unit."""
        try:
            self._keeper.keep(plan, rendered, errand)
        except RenderError as err:
            if isinstance(err, RenderCancelledError) or is_outage(err):
                raise
            self.fail(errand.message, err, rendered.works[0])
            return Outcome.FAILED
        return Outcome.RENDERED

    def _is_deadly(self, plan: RenderPlan, errand: Errand, work: Work) -> bool:
        """Whether too many workers died of *work*; the job has failed with that then."""
        step, job_id = Step.of(plan, work), errand.message.job_id
        reason = errand.attempt(
            lambda: self._attempts.condemn(job_id, step, errand.wait, time.time)
        )
        if reason is None:
            return False
        self.fail(errand.message, RenderFailedError(reason), work)
        return True

    def _may_come_again(
        self, plan: RenderPlan, errand: Errand, work: Work, error: RenderError
    ) -> bool:
        """Whether *work* is to be sent again once what it is made of is whole."""
        errand.attempt(lambda: mend(self._store, plan, work, error))
        job_id, unit = errand.message.job_id, unit_name(plan, work)
        return errand.attempt(lambda: self._ledger.may_mend(job_id, unit))

    def _read_plan(self, plan_hash: str) -> RenderPlan:
        return read_plan(self._store.get(plan_key(plan_hash)))
