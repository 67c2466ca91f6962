"""The command line: ``tilechord render "snow mountains" --size 2048x1536 -o mountains.png``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app import __version__
from app.cli import autoscale, clean, edit, inspection, jobs, quality, render, workers
from app.cli.dead import dead
from app.cli.errors import ErrorReportingGroup
from app.cli.models import models
from app.cli.output import say

cli = typer.Typer(
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Render large pictures in tiles, here or on a cluster.",
    epilog="Exit codes: 0 ok, 1 render failed, 2 bad request, 3 configuration or model, "
    "4 broker, store or workers not available, 5 not found, 6 quality --gate missed, "
    "130 interrupted.",
)
for command in (
    render.render,
    render.plan,
    render.submit,
    edit.rerender,
    jobs.status,
    jobs.watch,
    jobs.fetch,
    jobs.cancel,
    jobs.pause,
    jobs.prioritise,
    jobs.resume,
    jobs.jobs,
    workers.workers,
    workers.worker,
    autoscale.autoscale,
    quality.quality,
    clean.clean,
    inspection.recipe,
    inspection.doctor,
):
    cli.command()(command)
cli.add_typer(dead, name="dead")
cli.add_typer(models, name="models")


def main() -> None:
    """Entry point of the ``tilechord`` script."""
    cli(prog_name="tilechord")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        say(f"tilechord {__version__}")
        raise typer.Exit


@cli.callback()
def _global_options(
    env_file: Annotated[
        Path | None,
        typer.Option(help="Read TILECHORD_* variables from FILE; the environment wins."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    del version
    if env_file is not None:
        _read_environment(env_file)


def _read_environment(path: Path) -> None:
    """Set the file's variables where the environment does not have them."""
    from dotenv import dotenv_values

    if not path.is_file():
        raise typer.BadParameter(f"must be a file, {path} is none", param_hint="--env-file")
    for name, value in dotenv_values(path, interpolate=False).items():
        if value is not None:
            os.environ.setdefault(name, value)
