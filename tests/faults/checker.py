"""The verdict on a history, in the manner of Jepsen's total-queue.

``python -m tests.faults.checker HISTORY`` judges a file again.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.history import Event, read
from tests.faults.repeats import begun_again

BY_ITSELF = {"worker-crash", "control-crash"}
"""Counted when the process died at its point, not when the point was armed."""


@dataclass
class Verdict:
    """What a history proves, and what it accuses."""

    faults: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    missed: int = 0
    jobs: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    units: int = 0
    tiles: int = 0
    executions: int = 0
    """Units that workers began, repeated ones included."""
    wasted: int = 0
    """Executions beyond one a unit."""
    refusals: int = 0
    slowest_refusal_s: float = 0.0
    lost: list[str] = field(default_factory=list)
    endless: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Units that were begun although their blob was in the store."""
    left_over: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Faults of the harness itself: a fault that could not be injected or healed."""

    @property
    def accusations(self) -> list[str]:
        return [
            *(f"lost: {text}" for text in self.lost),
            *(f"without an end: {text}" for text in self.endless),
            *(f"mixed: {text}" for text in self.mixed),
            *(f"failed: {text}" for text in self.failed),
            *(f"rendered again: {text}" for text in self.repeated),
            *(f"left over: {text}" for text in self.left_over),
            *(f"harness: {text}" for text in self.broken),
        ]

    @property
    def bound(self) -> float:
        """With no loss in N independent faults, the chance of one is below this at 95 %."""
        return 3 / self.faults if self.faults else 1.0

    def report(self) -> dict[str, object]:
        return asdict(self) | {"bound": self.bound, "accusations": self.accusations}


def check(events: Iterable[Event]) -> Verdict:
    """Judge a complete history: it ends with an outcome of every job, and with what is left."""
    found = sorted(events, key=lambda event: event["t"])
    verdict = Verdict()
    _count_faults(found, verdict)
    _count_refusals(found, verdict)
    outcomes = {event["job_id"]: event for event in found if event["event"] == "outcome"}
    _check_ends(found, outcomes, verdict)
    _check_pictures(outcomes, verdict)
    _count_work(found, outcomes, verdict)
    verdict.repeated = begun_again(found)
    for event in found:
        if event["event"] == "left":
            verdict.left_over += [f"{place}: {what}" for place, what in event["places"].items()]
        elif event["event"] == "broken":
            verdict.broken.append(f"{event['name']}: {event['reason']}")
    return verdict


def _count_faults(events: Sequence[Event], verdict: Verdict) -> None:
    classes = Counter(
        event["name"]
        for event in events
        if event["event"] == "fault" and event["name"] not in BY_ITSELF
    )
    for event in events:
        if event["event"] == "crash":
            classes["control-crash" if event["node"].startswith("control") else "worker-crash"] += 1
    verdict.classes = dict(sorted(classes.items()))
    verdict.faults = classes.total()
    verdict.missed = sum(event["event"] == "missed" for event in events)


def _count_refusals(events: Sequence[Event], verdict: Verdict) -> None:
    seconds = [event["seconds"] for event in events if event["event"] == "refused"]
    verdict.refusals, verdict.slowest_refusal_s = len(seconds), max(seconds, default=0.0)


def _check_ends(events: Sequence[Event], outcomes: dict[str, Event], verdict: Verdict) -> None:
    """Whoever was told that an order is taken finds it ended."""
    accepted = [event["job_id"] for event in events if event["event"] == "acknowledged"]
    taken_back = {event["job_id"] for event in events if event["event"] == "cancel"}
    verdict.jobs = len(set(accepted))
    verdict.ends = dict(Counter(event["state"] for event in outcomes.values()))
    for job_id in dict.fromkeys(accepted):
        outcome = outcomes.get(job_id)
        if outcome is None:
            verdict.lost.append(f"{job_id} was acknowledged and is not known")
        elif outcome["state"] == "failed":
            verdict.failed.append(f"{job_id}: {outcome['reason']}")
        elif outcome["state"] == "cancelled" and job_id not in taken_back:
            verdict.failed.append(f"{job_id} was cancelled by nobody")
        elif not outcome["state"]:
            verdict.endless.append(f"{job_id}: {len(outcome['missing'])} units to do")


def _check_pictures(outcomes: dict[str, Event], verdict: Verdict) -> None:
    """Every picture is complete and equals that of the run without faults."""
    for job_id, outcome in outcomes.items():
        if outcome["state"] != "succeeded":
            continue
        if outcome["missing"]:
            verdict.lost.append(f"{job_id} has no {outcome['missing'][0]}")
        if outcome["pictures"] != outcome["clean"]:
            verdict.mixed.append(f"{job_id} differs from the clean run")
        if outcome["stored"] != outcome["pictures"]:
            verdict.mixed.append(f"{job_id} has other bytes than its manifest says")


def _count_work(events: Sequence[Event], outcomes: dict[str, Event], verdict: Verdict) -> None:
    plans = {
        outcome["plan"]: outcome for outcome in outcomes.values() if outcome["state"] == "succeeded"
    }
    starts = Counter(
        (event["plan"], event["unit"]) for event in events if event["event"] == "start"
    )
    verdict.units = sum(outcome["units"] for outcome in plans.values())
    verdict.tiles = sum(outcome["tiles"] for outcome in plans.values())
    verdict.executions = sum(count for (plan, _), count in starts.items() if plan in plans)
    verdict.wasted = sum(count - 1 for (plan, _), count in starts.items() if plan in plans)


def told(verdict: Verdict) -> str:
    """The verdict for people."""
    classes = ", ".join(f"{name} {count}" for name, count in verdict.classes.items())
    ends = ", ".join(f"{count} {state or 'open'}" for state, count in verdict.ends.items())
    share = verdict.wasted / verdict.executions if verdict.executions else 0.0
    lines = [
        f"faults     {verdict.faults} of {len(verdict.classes)} classes ({classes})",
        f"jobs       {verdict.jobs} acknowledged: {ends}; {verdict.refusals} refusals, "
        f"the slowest after {verdict.slowest_refusal_s:.1f} s",
        f"tiles      {verdict.tiles}, units {verdict.units}, executions {verdict.executions} "
        f"({share:.1%} wasted)",
        f"lost       {len(verdict.lost)}",
        f"endless    {len(verdict.endless)}",
        f"mixed      {len(verdict.mixed)}",
        f"failed     {len(verdict.failed)}",
        f"repeated   {len(verdict.repeated)}",
        f"left over  {len(verdict.left_over)}",
        f"bound      below {verdict.bound:.2%} a fault at 95 % confidence, if all are 0",
    ]
    return "\n".join([*lines, *verdict.accusations])


if __name__ == "__main__":
    judged = check(read(Path(sys.argv[1])))
    sys.stdout.write(told(judged) + "\n")
    sys.exit(bool(judged.accusations))
