"""Following a job to its end: the store tells, a reporter shows."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app import client
from app.bootstrap import Runtime, runtime
from app.cli.lookup import look, raise_if_over
from app.cli.output import note, spoken_s
from app.cli.timeline import remaining_s
from app.domain.errors import NotFoundError
from app.domain.work import Progress as WorkDone
from app.jobs import JobState, JobStatus, present_keys
from app.merging import read_runs
from app.schemas import Manifest

_POLL_S = {True: 0.1, False: 1.0}  # in this process a look is cheap, in S3 it is a request


class Reporter(Protocol):
    """Shows how far a job has come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def show(self, done: WorkDone, left_s: float | None) -> None: ...


class LineReporter:
    """One plain line per stage, for logs and pipes."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._stage: object = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, done: WorkDone, left_s: float | None) -> None:
        if self._is_quiet or done.stage == self._stage:
            return
        self._stage = done.stage
        rest = f", about {spoken_s(left_s)} left" if left_s and left_s >= 1 else ""
        note(f"{done.stage or 'done'}: {done.done} of {done.total} units{rest}")


class BarReporter:
    """A progress bar that moves with every unit, for terminals."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description:8}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} units"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("queued", total=1, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: WorkDone, left_s: float | None) -> None:
        self._bar.update(
            self._task,
            completed=done.done,
            total=done.total,
            description=str(done.stage or "done"),
            left=f"about {spoken_s(left_s)} left" if left_s else "",
        )


def reporter(*, is_quiet: bool) -> Reporter:
    """A bar on a terminal, lines elsewhere, nothing when *is_quiet*."""
    if is_quiet or not sys.stderr.isatty():
        return LineReporter(is_quiet=is_quiet)
    return BarReporter()


def follow(job_id: str, *, is_quiet: bool = False, patience_s: float | None = None) -> Manifest:
    """Wait for the job's result.

    Raises ``RenderFailedError`` or ``RenderCancelledError`` when the job ends so, the error
    that refused its plan, or ``NotFoundError`` when it is unknown for *patience_s*.
    """
    app = runtime()
    start = time.monotonic()
    with reporter(is_quiet=is_quiet) as board:
        while True:
            status = look(app, job_id)
            if status is not None and status.state is JobState.SUCCEEDED:
                _show(app, status, board)
                return app.ledger.result(job_id)
            raise_if_over(job_id, status)
            if status is not None:
                _show(app, status, board)
            elif patience_s is not None and time.monotonic() - start >= patience_s:
                raise NotFoundError(f"job {job_id} is not known")
            time.sleep(_POLL_S[app.settings.is_embedded])


def _show(app: Runtime, status: JobStatus, board: Reporter) -> None:
    if status.progress is not None:
        board.show(status.progress, _left_s(app, status))


def _left_s(app: Runtime, status: JobStatus) -> float | None:
    """As the dispatcher predicts it, or from the job's own pace."""
    told = None if app.settings.is_embedded else client.schedule(status.job_id)
    if told is not None:
        return told.eta_s
    plan = app.ledger.plan(status.job_id)
    return remaining_s(plan, present_keys(app.store, plan), read_runs(app.store, plan))
