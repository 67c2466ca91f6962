"""Commands about workers: ``worker`` starts one, ``workers`` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import Json
from app.cli.output import note, say, say_json, say_table


def worker(
    queues: Annotated[str, typer.Option(help="Pools to serve, separated by commas.")] = "gpu",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    name: Annotated[str, typer.Option(help="Name within this host.")] = "worker",
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics.")] = None,
) -> None:
    """Serve queues until stopped, one unit at a time.

    Checks broker, device, store and model first. A GPU serves exactly one pool.
    """
    from app.cli import serving

    serving.configure(device=device, metrics_port=metrics_port)
    pools = serving.read_pools(queues)
    for line in serving.check(pools):
        note(line)
    serving.replace_process(pools, name)


def workers(json: Json = False) -> None:
    """List the workers that answer, what they serve and what they are doing."""
    from app.cli.serving import inspect_workers
    from app.settings import settings

    if settings().is_embedded:
        if json:
            say_json([])
        else:
            say("no broker is set: every render runs in the process that asks for it")
        return
    found = inspect_workers()
    if json:
        say_json(found)
        return
    if not found:
        note("no worker answers; start one with: tilechord worker --queues control,gpu")
    say_table(
        ("worker", "queues", "active", "since s"),
        (
            (row["name"], ",".join(row["queues"]), row["active"] or "-", row["since_s"] or "-")
            for row in found
        ),
    )
