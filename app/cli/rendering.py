"""Rendering from the command line: in this process, or through the broker."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from app import client
from app.bootstrap import runtime
from app.cli.following import follow
from app.cli.output import note, say, say_json, say_table, spoken_s
from app.cli.regions import with_masks
from app.cli.sizes import stretch_of, stretch_told
from app.cli.timeline import timeline
from app.domain.errors import InvalidRequestError
from app.embedded import worker
from app.manifests import read_runs
from app.schemas import Manifest, RenderRequest, read_request

_TIMELINE = ("worker", "unit", "start s", "seconds", "")


def use_this_process() -> None:
    """Render without the broker, even where one is configured. Call before any setting is read."""
    os.environ["TILECHORD_BROKER_URL"] = "memory://"
    # Failures reach the caller as errors; Celery would print each of them with a traceback too.
    logging.getLogger("celery").addHandler(logging.NullHandler())
    logging.getLogger("celery").propagate = False


def complete(fields: dict[str, Any], files: Mapping[str, Path]) -> RenderRequest:
    """The checked request, its *files* and masks uploaded; tells when one is stretched."""
    uploaded = {field: client.upload(path, field=field) for field, path in files.items()}
    request = read_request(with_masks(fields, client.upload) | uploaded)
    if request.init_fit is None and (init := files.get("init_image")):
        stretch = stretch_of(init, request.width, request.height)
        if stretch != 1:
            note(f"{init} is {stretch_told(stretch)}")
    return request


def check_output(output: Path | None) -> None:
    """Refuse before an hour of rendering, not after it."""
    folder = output.parent if output else Path()
    if not folder.is_dir():
        raise InvalidRequestError(f"--output must lie in an existing folder, {folder} is none")
    if not os.access(folder, os.W_OK):
        raise InvalidRequestError(f"--output must lie in a writable folder, {folder} is not")
    if output and output.is_dir():
        raise InvalidRequestError(f"--output must be a file, {output} is a folder")


def finish_here(send: Callable[[], str], *, is_quiet: bool) -> Manifest:
    """Do the job that *send* starts in this process, up to its result.

    Ctrl-C stops the tile under way at its next step and leaves a job that can be resumed.
    """
    job_id = ""
    try:
        with worker():
            job_id = send()
            try:
                return follow(job_id, is_quiet=is_quiet)
            except KeyboardInterrupt:
                _stop(job_id)
                raise
    except KeyboardInterrupt:
        if job_id and runtime().ledger.has_request(job_id):
            # The mark only served to stop this worker: the job itself is not cancelled.
            runtime().ledger.reopen(job_id)
            note(f"interrupted; go on with: tilechord resume {job_id}")
        raise


def finish_there(send: Callable[[], str], *, is_quiet: bool) -> Manifest:
    """Follow the job that *send* starts on the cluster, up to its result."""
    job_id = send()
    try:
        return follow(job_id, is_quiet=is_quiet)
    except KeyboardInterrupt:
        note(f"the cluster goes on with job {job_id}; see it with: tilechord watch {job_id}")
        note(f"if it stands still: tilechord resume {job_id}")
        raise


def deliver(
    manifest: Manifest, output: Path | None, *, start: float, as_json: bool, with_timeline: bool
) -> None:
    """Write the pictures and tell about them; *start* is the clock when the order was given."""
    suffix = manifest.images[0].format
    paths = client.save(manifest, output or Path(f"{manifest.job_id}.{suffix}"))
    seconds = time.monotonic() - start
    app = runtime()
    plan = app.ledger.plan(manifest.job_id)
    runs = read_runs(app.store, plan) if with_timeline else []
    if as_json:
        files = [str(path) for path in paths]
        extra = {"files": files, "seconds": round(seconds, 3), "tiles": plan.cost.tiles}
        rows = [
            dict(zip(("worker", "unit", "start_s", "seconds"), row[:4], strict=True))
            for row in timeline(runs)
        ]
        say_json(manifest.model_dump(mode="json") | extra | ({"timeline": rows} if runs else {}))
        return
    for path in paths:
        say(str(path))
    source = "from the store" if manifest.cached else f"on {_workers(manifest)}"
    say(f"{spoken_s(seconds)}, {plan.cost.tiles} tiles {source}, job {manifest.job_id}")
    if runs:
        say_table(_TIMELINE, timeline(runs))


def _workers(manifest: Manifest) -> str:
    count = len(manifest.workers)
    return "1 worker" if count == 1 else f"{count} workers"


def _stop(job_id: str) -> None:
    """Workers look for this mark between steps."""
    typer.echo("stopping after the step under way …", err=True)
    if runtime().ledger.has_request(job_id):
        runtime().ledger.cancel(job_id)
