"""Commands about jobs: where they stand, what they gave, and taking them on or off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import Json, check_format
from app.cli.output import note, say, say_json, say_pairs, say_table, short
from app.cli.render import StoredOutput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.bootstrap import Runtime
    from app.domain.spec import Priority
    from app.jobs import JobStatus

Job = Annotated[str, typer.Argument(help="Job id, as `submit` prints it.")]


def status(job: Job, json: Json = False) -> None:
    """Tell where a job stands."""
    from app.cli.lookup import find

    found = find(job)
    record = _record(found) | _schedule(found)
    if json:
        say_json(record)
    else:
        say_pairs((name, value) for name, value in record.items() if value is not None)


def watch(
    job: Job,
    json: Json = False,
    patience: Annotated[float, typer.Option(help="Seconds to wait for an unknown job.")] = 10.0,
) -> None:
    """Follow a job to its end; the exit code tells how it ended."""
    from app.cli.following import follow

    manifest = follow(job, is_quiet=json, patience_s=patience)
    if json:
        say_json(manifest.model_dump(mode="json"))
        return
    for image in manifest.images:
        say(image.url if len(image.url) <= 2000 else image.key)


def fetch(
    job: Job,
    output: StoredOutput = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write those there are of an unfinished job.")
    ] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show who did what when.")] = False,
    json: Json = False,
) -> None:
    """Write the pictures of a finished job to files.

    With --partial also those of an open, failed or cancelled one, numbered as they will be, and
    tell which are missing.
    """
    from app import client
    from app.cli import rendering

    start = time.monotonic()
    rendering.check_output(output)
    if partial:
        from app.cli.partial import deliver_finished

        if timeline:
            raise typer.BadParameter("is for whole results", param_hint="--timeline")
        deliver_finished(job, output, start=start, as_json=json)
        return
    manifest = client.result(job)
    check_format(output, manifest.images[0].format)
    rendering.deliver(manifest, output, start=start, as_json=json, with_timeline=timeline)


def cancel(job: Job) -> None:
    """Ask a job to stop; workers do so within a step. `resume` takes it up again."""
    from app import client

    client.cancel(job)
    say(f"job {job} is cancelled")


def pause(job: Job) -> None:
    """Keep a job waiting: what workers have is finished, no more is sent until `resume`."""
    from app import client

    client.pause(job)
    say(f"job {job} is paused; go on with: tilechord resume {job}")


def prioritise(
    job: Job, priority: Annotated[str, typer.Argument(help="high, normal or low.")]
) -> None:
    """Move what is left of a job to another priority class."""
    from app import client
    from app.domain.errors import InvalidRequestError
    from app.domain.spec import Priority

    if priority not in list(Priority):
        raise InvalidRequestError(f"priority must be high, normal or low, got {priority!r}")
    client.prioritise(job, Priority(priority))
    say(f"job {job} has priority {priority}")


def resume(job: Job, output: StoredOutput = None, json: Json = False) -> None:
    """Go on with a job that failed, was cancelled or interrupted; finished tiles are kept.

    Without a broker it is finished in this process; with one it is sent to the cluster, and
    waited for when --output is given.
    """
    from app import client
    from app.bootstrap import runtime
    from app.cli import rendering
    from app.cli.broker import require_broker

    start = time.monotonic()
    rendering.check_output(output)
    app = runtime()
    check_format(output, app.ledger.request(job).format)
    if not app.ledger.has_result(job):
        found = app.ledger.status(job)  # an unknown job is told before a model is loaded
        if found.plan_hash is None:
            note(f"nothing that was rendered of job {job} is kept, it is begun anew")

        def send() -> str:
            client.resume(job)
            return job

        if app.settings.is_embedded:
            rendering.use_this_process()
            rendering.finish_here(send, is_quiet=json)
        elif require_broker("resume") and output is not None:
            rendering.finish_there(send, is_quiet=json)
        else:
            note(f"sent job {send()} on; follow it with: tilechord watch {job}")
            if json:
                say_json({"job_id": job})
            return
    if output is not None:
        manifest = app.ledger.result(job)
        rendering.deliver(manifest, output, start=start, as_json=json, with_timeline=False)
    elif json:
        say_json(app.ledger.result(job).model_dump(mode="json"))
    else:
        say(f"job {job} has its result; write it with: tilechord fetch {job} -o FILE")


def jobs(json: Json = False) -> None:
    """List all jobs in the store, the newest last."""
    from app.bootstrap import runtime

    app = runtime()
    classes = {entry.job_id: entry.priority for entry in app.entries.all()}
    rows = [row for job_id in app.ledger.job_ids() if (row := _row(app, job_id, classes))]
    if json:
        say_json(rows)
        return
    say_table(
        ("job", "state", "done", "pictures", "size", "priority", "tenant", "prompt"),
        (
            (
                row["job_id"],
                row["state"],
                f"{row['done']}/{row['total']}" if row["total"] else "-",
                row["pictures"] or "-",
                f"{row['width']}x{row['height']}",
                row["priority"],
                row["tenant"],
                short(str(row["prompt"]), 50),
            )
            for row in rows
        ),
    )


def _row(app: Runtime, job_id: str, classes: Mapping[str, Priority]) -> dict[str, object] | None:
    """What is listed of a job; ``None`` when it was removed since it was listed.

    *classes* are those of open jobs now, which may have been moved since they were ordered.
    """
    from app.domain.errors import NotFoundError

    try:
        request, found = app.ledger.request(job_id), app.ledger.status(job_id)
    except NotFoundError:
        return None
    return _record(found) | {
        "width": request.width,
        "height": request.height,
        "priority": str(classes.get(job_id, request.priority)),
        "tenant": request.tenant,
        "prompt": request.prompt,
    }


def _record(found: JobStatus) -> dict[str, object]:
    progress = found.progress
    return {
        "job_id": found.job_id,
        "state": str(found.state),
        "stage": progress and progress.stage,
        "done": progress and progress.done,
        "total": progress and progress.total,
        "pictures": found.pictures and f"{found.pictures_done}/{found.pictures}",
        "reason": found.reason,
        "plan_hash": found.plan_hash,
    }


def _schedule(status: JobStatus) -> dict[str, object]:
    """What the dispatcher tells of an open job; nothing where none runs."""
    from app.bootstrap import runtime
    from app.cli.outlook import is_late
    from app.jobs import JobState
    from app.schedules import read_schedule

    is_open = status.state in (JobState.SUBMITTED, JobState.RUNNING)
    found = read_schedule(runtime().board, status.job_id) if is_open else None
    if found is None:
        return {}
    is_waiting = found.state == "open" and found.position is not None
    return {
        "line": f"{found.position} before it" if is_waiting else found.state,
        "eta_s": found.eta_s,
        "deadline": found.deadline_ms and time.ctime(found.deadline_ms / 1000),
        "will_be_late": is_late(found, time.time()) if found.deadline_ms else None,
    }
