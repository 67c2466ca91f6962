"""What control workers have done, and how long workers waited for it."""

from __future__ import annotations

from collections.abc import Collection

from app.domain.work import WORKER_STAGES, Stage, Work
from app.live.port import Record
from app.scheduling.job import OpenJob

_LEAST_S = 0.01
"""Begin and end may be heard of together, in one round: that is no time to learn."""


class StepTimes:
    """Times steps of control workers by what is heard of units and of them.

    From the last unit before a step until what it did is told: with the messages between, which
    workers wait for just as well. Only of one that was alone: how long others wait depends on the
    line before the control workers, and that will be another one. Asked of each of their events,
    as these come.
    """

    def __init__(self) -> None:
        self._told_s = float("-inf")

    def told(self, now_s: float) -> None:
        """Note that a control worker has told of something else."""
        self._told_s = now_s

    def moved_on(self, job: OpenJob, event: Record, now_s: float) -> dict[Work, float]:
        """Seconds of each step that *event* says was done; none where that is not known."""
        if event.get("done") == []:  # the end of a slice that was not the last: nothing to do
            return {}
        images, steps = event.get("images"), done_in(event)
        # With an image that is not complete, the message has waited for that one's units too.
        is_whole = isinstance(images, list) and images == sorted(work.image for work in steps)
        return self._times(job, steps if is_whole else [], now_s)

    def finished(self, job: OpenJob, now_s: float) -> dict[Work, float]:
        """Seconds of the step that gave *job* its result, which was told just now."""
        steps = [work for work, _ in job.steps.values() if work.stage is Stage.PICTURE]
        is_whole = {work.image for work in steps} == job.unfinished
        return self._times(job, steps if is_whole else [], now_s)

    def _times(self, job: OpenJob, steps: Collection[Work], now_s: float) -> dict[Work, float]:
        told_s, self._told_s = self._told_s, now_s
        begun = {
            work: since_s
            for work, since_s in job.steps.values()
            if work in steps and max(told_s, job.asked_s.get(work.image, told_s)) <= since_s
        }
        if len(begun) < len(steps) or not steps:
            return {}
        return dict.fromkeys(steps, max(_LEAST_S, (now_s - max(begun.values())) / len(steps)))


def done_in(event: Record) -> list[Work]:
    """What a control worker says it has done; nothing where it is of another version."""
    done = []
    told = event.get("done")
    for entry in told if isinstance(told, list) else []:
        match entry:
            case [str(stage), int(image), int(phase)] if stage in set(Stage) - set(WORKER_STAGES):
                done.append(Work(Stage(stage), image, phase))
    return done
