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
from app.cli.outlook import outlook, time_left
from app.cli.output import note
from app.cli.stillness import stillness
from app.cli.timeline import remaining_s
from app.domain.errors import NotFoundError
from app.domain.work import Progress as WorkDone
from app.jobs import JobState, JobStatus, present_keys
from app.manifests import read_runs
from app.schemas import Manifest

_POLL_S = {True: 0.1, False: 1.0}  # in this process a look is cheap, in S3 it is a request


class Reporter(Protocol):
    """Shows how far a job has come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def show(self, done: WorkDone, outlook: str, pictures: str = "") -> None: ...

    def tell(self, line: str) -> None: ...


class LineReporter:
    """One plain line per stage and finished picture, for logs and pipes."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._shown: object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, done: WorkDone, outlook: str, pictures: str = "") -> None:
        if self._is_quiet or self._shown == (done.stage, pictures):
            return
        self._shown = done.stage, pictures
        units = f"{done.done} of {done.total} units"
        note(f"{done.stage or 'done'}: {', '.join(filter(None, (units, pictures, outlook)))}")

    def tell(self, line: str) -> None:
        if not self._is_quiet:
            note(line)


class BarReporter:
    """A progress bar that moves with every unit, for terminals."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description:8}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} units{task.fields[pictures]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("queued", total=1, pictures="", left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: WorkDone, outlook: str, pictures: str = "") -> None:
        self._bar.update(
            self._task,
            completed=done.done,
            total=done.total,
            description=str(done.stage or "done"),
            pictures=pictures and f", {pictures}",
            left=outlook,
        )

    def tell(self, line: str) -> None:
        """Above the bar."""
        self._bar.console.print(line, markup=False, highlight=False)


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
    start, still = time.monotonic(), stillness(app)
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
            if reason := still.look(status):
                board.tell(reason)
            time.sleep(_POLL_S[app.settings.is_embedded])


def _show(app: Runtime, status: JobStatus, board: Reporter) -> None:
    if status.progress is not None:
        board.show(status.progress, _outlook(app, status), _pictures(status))


def _pictures(status: JobStatus) -> str:
    """Of a single picture the units tell all."""
    is_batch = status.pictures is not None and status.pictures > 1
    return f"{status.pictures_done} of {status.pictures} pictures" if is_batch else ""


def _outlook(app: Runtime, status: JobStatus) -> str:
    """As the dispatcher tells it, or from the job's own pace."""
    told = None if app.settings.is_embedded else client.schedule(status.job_id)
    if told is not None:
        return outlook(told, time.time())
    plan = app.ledger.plan(status.job_id)
    return time_left(remaining_s(plan, present_keys(app.store, plan), read_runs(app.store, plan)))
