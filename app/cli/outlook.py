"""What is to come of an open job, in words."""

from __future__ import annotations

import time

from app.cli.output import spoken_s
from app.expectation import Expectation
from app.schedules import Schedule


def outlook(told: Schedule, now_s: float) -> str:
    """``2 before it, about 30 s left, wanted by 16:20``: as much of it as the dispatcher knows."""
    parts = []
    if told.state != "open":
        parts.append(told.state)
    elif told.position:
        parts.append(f"{told.position} before it")
    if told.eta_s is not None:
        parts.append(time_left(told.eta_s))
    if told.deadline_ms is not None:
        wanted = time.strftime("%H:%M", time.localtime(told.deadline_ms / 1000))
        parts.append(f"{'too late for' if is_late(told, now_s) else 'wanted by'} {wanted}")
    return ", ".join(filter(None, parts))


def time_left(seconds: float | None) -> str:
    """Nothing when that is no second, or not known."""
    return f"about {spoken_s(seconds)} left" if seconds is not None and seconds >= 1 else ""


def expectation(told: Expectation) -> str:
    """``begin: in about 40 s, done: not known``."""
    return f"begin: {_after(told.begin_s)}, done: {_after(told.finish_s)}"


def _after(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"in about {spoken_s(seconds)}" if seconds >= 1 else "at once"


def is_late(told: Schedule, now_s: float) -> bool:
    """Whether the job will be done after its deadline, or would have to be done by now."""
    return told.deadline_ms is not None and now_s + (told.eta_s or 0.0) > told.deadline_ms / 1000
