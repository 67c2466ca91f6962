"""``python -m app.cluster up | down | status | logs | install``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cluster import packages
from app.cluster import state as states
from app.cluster.lifecycle import log_path, log_tail
from app.cluster.local import DEFAULT_FOLDER, down, env_path, up
from app.cluster.ports import DEFAULT_BASE, LOOPBACK
from app.domain.errors import RenderError
from app.exits import exit_code

cli = typer.Typer(
    help="The local cluster: private servers, workers and Flower.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Option(help="Where all files of the cluster lie.")]
Workers = Annotated[
    int, typer.Option(min=0, max=64, help="GPU workers; they use the CPU if need be.")
]
PortBase = Annotated[int, typer.Option(min=1024, max=65000, help="First of about 20 ports.")]
Lines = Annotated[int, typer.Option(min=1, help="Last lines of each log.")]


@cli.command("up")
def up_command(
    workers: Workers = 2, folder: Folder = DEFAULT_FOLDER, port_base: PortBase = DEFAULT_BASE
) -> None:
    """Start what does not run yet and wait until it works."""
    site = up(folder, workers=workers, port_base=port_base, say=_say)
    _say("")
    for title, name in (("RabbitMQ", "amqp"), ("Redis", "redis"), ("S3", "s3")):
        _say(f"  {title:<10}{LOOPBACK}:{site.ports[name]}")
    _say(f"  {'Flower':<10}http://{LOOPBACK}:{site.ports['flower']}  (login in {env_path(folder)})")
    _say(f"\nNext:\n  set -a; . {env_path(folder)}; set +a")
    _say('  tilechord render --cluster "a lighthouse at dusk" --size 1024x768')


@cli.command("down")
def down_command(folder: Folder = DEFAULT_FOLDER) -> None:
    """End exactly what up started; queues, results and pictures stay on the disk."""
    down(folder, _say)


@cli.command("status")
def status_command(folder: Folder = DEFAULT_FOLDER) -> None:
    """List the services; exit code 1 unless all run."""
    records = states.load(folder.absolute()).records.values()
    for record in records:
        ports = " ".join(f"{name}:{port}" for name, port in record.ports.items())
        word = "running" if record.is_running else "gone"
        _say(f"{record.name:<10}{word:<9}pid {record.process.pid:<8}{ports}")
    if not records:
        _say("nothing runs; start it with: make up")
    if not records or not all(record.is_running for record in records):
        raise typer.Exit(1)


@cli.command("logs")
def logs_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Services; all when none is named.")
    ] = None,
    folder: Folder = DEFAULT_FOLDER,
    lines: Lines = 20,
) -> None:
    """Show the ends of the logs."""
    for name in names or list(states.load(folder.absolute()).records):
        _say(f"==> {name} <==\n{log_tail(log_path(folder, name), lines)}\n")


@cli.command("install")
def install_command() -> None:
    """Install the Debian packages that are missing."""
    if missing := packages.missing():
        packages.install(missing)
    packages.require()
    _say("RabbitMQ, Redis and SeaweedFS are installed")


def main() -> None:
    """Run the command line; an anticipated failure is one sentence and its exit code."""
    try:
        cli()
    except RenderError as err:
        typer.echo(f"tilechord: {err}", err=True)
        raise SystemExit(exit_code(err)) from err


def _say(line: str) -> None:
    typer.echo(line)
