"""What this process shows of itself as a node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from operator import itemgetter
from queue import SimpleQueue

from app.domain.work import Outcome, Work
from app.live.port import Record
from app.nodes import CurrentStep, NodeState
from app.schemas import WorkMessage


class OwnNode:
    """What this process shows of itself: changed by those who work, shown by the heartbeat.

    No lock is held anywhere, so that signal handlers may call it too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._identity: Record = {}
        self._facts: Callable[[], Mapping[str, object]] = dict
        self._models: Callable[[], list[str]] = list
        self._installed: Mapping[str, Mapping[str, float]] = {}
        self._at_hand: dict[int, tuple[WorkMessage, float]] = {}
        self._steps: dict[int, tuple[CurrentStep, float]] = {}
        self._numbers = count()
        self._pause_reason = ""
        self._drain_reason: str | None = None
        self._leaving_since_s: float | None = None
        self._units_done = 0
        self.outbox: SimpleQueue[Record | None] = SimpleQueue()
        """Events to tell; ``None`` asks to be shown now."""

    def introduce(self, **identity: object) -> None:
        """Set what does not change: node, pid, pool, labels, weight."""
        self._identity = dict(identity)

    def describe_device(self, facts: Callable[[], Mapping[str, object]]) -> None:
        """Ask *facts* for device and memory at every heartbeat."""
        self._facts = facts

    def describe_models(self, models: Callable[[], list[str]]) -> None:
        """Ask *models* for the names of what is loaded at every heartbeat."""
        self._models = models

    def describe_installed(self, found: Mapping[str, Mapping[str, float]]) -> None:
        """Show *found* as what lies in the folders from now on."""
        self._installed = found

    @contextmanager
    def working(self, message: WorkMessage) -> Iterator[None]:
        """Show *message* as the current unit until the block ends; those before as earlier ones.

        At once: a worker that freezes before its next beat would take an unknown unit along.
        """
        number = next(self._numbers)
        self._at_hand[number] = message, self._clock()
        self.outbox.put(None)
        try:
            yield
        finally:
            del self._at_hand[number]

    @property
    def is_working(self) -> bool:
        return bool(self._at_hand)

    def begin(self, message: WorkMessage) -> None:
        """Count the time of *message* from now on: until now it has waited for another."""
        for number, (other, _) in [*self._at_hand.items()]:
            if other is message:
                self._at_hand[number] = message, self._clock()

    @contextmanager
    def at_step(self, job_id: str, label: str, image: int | None = None) -> Iterator[None]:
        """Show what a control worker does for the job, and count its time, until the block ends."""
        number = next(self._numbers)
        step = CurrentStep(job_id=job_id, label=label, image=image, elapsed_s=0)
        self._steps[number] = step, self._clock()
        try:
            yield
        finally:
            del self._steps[number]

    def running_s(self) -> float:
        """Seconds since the longest of what is at hand was begun, 0 when there is nothing."""
        begun_s = [since_s for _, since_s in [*self._units(), *self._steps_now()]]
        return max((self._clock() - since_s for since_s in begun_s), default=0)

    def longest(self) -> Record | None:
        """What was begun first of all that is at hand."""
        units = [(since_s, self._unit((unit, since_s))) for unit, since_s in self._units()]
        steps = [(since_s, self._step((step, since_s))) for step, since_s in self._steps_now()]
        return min([*units, *steps], key=itemgetter(0), default=(0, None))[1]

    def tell(self, event: Record) -> None:
        """Tell the board *event* of this node, soon and without waiting for it."""
        self.outbox.put({"node": self._identity.get("node", ""), **event})

    def tell_unit(
        self,
        message: WorkMessage,
        work: Work,
        status: str,
        *,
        seconds: float = 0.0,
        device: str = "",
    ) -> None:
        """Tell how *work*, a unit of *message*, ended here."""
        self._units_done += status == Outcome.RENDERED
        self._tell_units(message, work, status, seconds=seconds, device=device)

    def tell_message(self, message: WorkMessage, status: str) -> None:
        """Tell how all units of *message* ended here, of which none was rendered."""
        self._tell_units(message, message.work, status, more=message.more)

    def _tell_units(self, message: WorkMessage, work: Work, status: str, **further: object) -> None:
        unit = {"stage": work.stage, "image": work.image, "phase": work.phase, "index": work.index}
        job = {"job_id": message.job_id, "plan_hash": message.plan_hash}
        self.tell({"kind": "unit", "status": status, **job, **unit, **further})

    def pause(self, reason: str) -> None:
        """Show that this process takes no work because of *reason*; an empty one ends the pause."""
        self._pause_reason = reason
        self.outbox.put(None)

    def drain(self, reason: str) -> None:
        """Show that this process takes no more work; there is no way back."""
        self._drain_reason = reason
        self.outbox.put(None)

    @property
    def is_draining(self) -> bool:
        return self._drain_reason is not None

    def leave(self, reason: str) -> None:
        """Drain, and give up the current unit between two of its steps or layers."""
        if self._leaving_since_s is None:
            self._leaving_since_s = self._clock()
        self.drain(reason)

    @property
    def is_leaving(self) -> bool:
        return self._leaving_since_s is not None

    def leaving_s(self) -> float:
        """Seconds since the order to leave, 0 when there was none."""
        since_s = self._leaving_since_s
        return 0.0 if since_s is None else self._clock() - since_s

    def record(self) -> Record:
        """What is shown now."""
        state, reason = NodeState.READY, ""
        if self._pause_reason:
            state, reason = NodeState.PAUSED, self._pause_reason
        if self._drain_reason is not None:
            state, reason = NodeState.DRAINING, self._drain_reason
        *before, current = [None, None, *map(self._unit, self._units())]
        *_, step = [None, *map(self._step, self._steps_now())]
        return {
            **self._identity,
            **self._facts(),
            "models": self._models(),
            "installed": self._installed,
            "current": current,
            "earlier": before[-1],
            "step": step,
            "state": state,
            "reason": reason,
            "units_done": self._units_done,
        }

    # Both copied in one go: other threads change them.

    def _units(self) -> list[tuple[WorkMessage, float]]:
        return [*self._at_hand.values()]

    def _steps_now(self) -> list[tuple[CurrentStep, float]]:
        return [*self._steps.values()]

    def _step(self, begun: tuple[CurrentStep, float]) -> Record:
        step, since_s = begun
        return step.model_dump() | {"elapsed_s": round(self._clock() - since_s, 3)}

    def _unit(self, taken: tuple[WorkMessage, float]) -> Record:
        message, since_s = taken
        unit = message.model_dump(
            mode="json",
            include={"job_id", "plan_hash", "stage", "image", "phase", "index", "more"},
        )
        return unit | {"elapsed_s": round(self._clock() - since_s, 3)}
