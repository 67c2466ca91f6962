"""Commands that take a request: ``render``, ``plan``, ``submit``."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Json, RequestOptions, takes_request
from app.cli.output import note, say, say_json, say_pairs, short

# Commands import their work when they run: `tilechord --help` then starts in 0.3 s, not 1 s.

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write; its suffix says the format."),
]
StoredOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write; a suffix must say the picture's format."),
]


@takes_request
def render(
    options: RequestOptions,
    output: Output = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Render on the cluster.")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show who did what when.")] = False,
    repair_seams: Annotated[
        bool, typer.Option("--repair-seams", help="Paint seams above the gate anew.")
    ] = False,
    json: Json = False,
) -> None:
    """Render a picture and write it to a file; in this process unless --cluster is given.

    Ctrl-C leaves a job that `tilechord resume` finishes.
    """
    from app import client
    from app.cli import mending, rendering
    from app.cli.broker import require_broker
    from app.cli.summary import preview

    start = time.monotonic()
    rendering.check_output(output)
    if repair_seams and (options.count or 1) != 1:
        raise typer.BadParameter("needs a single picture", param_hint="--repair-seams")
    if cluster:
        require_broker("--cluster")
    else:
        rendering.use_this_process()
    fields = options.to_request(output)
    if not cluster:
        preview(fields, options.files)  # refused before the model is loaded
    request = rendering.complete(fields, options.files)
    finish = rendering.finish_there if cluster else rendering.finish_here
    manifest = None if cluster else client.from_store(request)  # before a model is loaded
    if manifest is None:
        manifest = finish(lambda: client.submit(request), is_quiet=json)
    if repair_seams:
        manifest = mending.repair(
            manifest, lambda part: finish(lambda: client.submit(part), is_quiet=json)
        )
    rendering.deliver(manifest, output, start=start, as_json=json, with_timeline=timeline)


@takes_request
def plan(
    options: RequestOptions,
    json: Json = False,
    draw: Annotated[Path | None, typer.Option(help="Write all grids as a picture.")] = None,
) -> None:
    """Show what a render would do: tiles, steps, compute, bytes moved, hash. Stores nothing."""
    from app.cli.drawing import draw_plan
    from app.cli.summary import estimate, plan_lines, plan_summary, preview
    from app.domain.plan import canonical_json

    request, planned = preview(options.to_request(), options.files)
    estimates = estimate(request, planned, options.init)
    if draw is not None:
        draw_plan(planned, draw)
    if json:
        say(canonical_json(plan_summary(planned, estimates)).decode())
    else:
        say_pairs(plan_lines(planned, estimates))


@takes_request
def submit(options: RequestOptions, json: Json = False) -> None:
    """Send a render to the cluster and print its job id; tell when to expect it."""
    from app import client
    from app.cli import rendering
    from app.cli.broker import require_broker
    from app.cli.outlook import expectation

    fields = options.to_request()
    require_broker("submit")
    request = rendering.complete(fields, options.files)
    expected = client.estimate(request)  # before the job itself is among what waits
    job_id = client.submit(request)
    if json:
        say_json({"job_id": job_id} | asdict(expected))
        return
    say(job_id)
    note(f"sent {short(options.prompt, 40)!r}; follow it with: tilechord watch {job_id}")
    note(expectation(expected))
