"""Commands about dead letters: ``dead list``, ``show``, ``requeue``, ``drop``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import Json
from app.cli.output import note, say, say_json, say_pairs, say_table

if TYPE_CHECKING:
    from app.dead import Letter

dead = typer.Typer(
    no_args_is_help=True, help="Look at what no worker could handle, and decide about it."
)
Name = Annotated[str, typer.Argument(help="Id of a dead letter, or of a job: all its letters.")]


@dead.command("list")
def list_letters(json: Json = False) -> None:
    """List units that workers died of, and messages no worker could handle."""
    from app.bootstrap import runtime
    from app.dead import opened

    with opened(runtime()) as letters:
        found = [_record(letter) for letter in letters.all()]
    if json:
        say_json(found)
        return
    if not found:
        note("no dead letter")
    columns = ("id", "job", "unit", "at", "reason")
    say_table(columns, ([row[column] or "-" for column in columns] for row in found))


@dead.command()
def show(letter: Name, json: Json = False) -> None:
    """Show all that is known of a dead letter."""
    from app.bootstrap import runtime
    from app.dead import opened

    with opened(runtime()) as letters:
        found = [_record(one) for one in letters.find(letter)]
    if json:
        say_json(found)
        return
    for number, record in enumerate(found):
        if number:
            say("")
        say_pairs((name, value) for name, value in record.items() if value is not None)


@dead.command()
def requeue(letter: Name, json: Json = False) -> None:
    """Give it another chance: its job goes on, its message goes back to its queue."""
    from app.bootstrap import runtime
    from app.dead import opened

    with opened(runtime()) as letters:
        _tell("sent on", letters.requeue(letter), as_json=json)


@dead.command()
def drop(letter: Name, json: Json = False) -> None:
    """Remove it for good; its job stays as it is."""
    from app.bootstrap import runtime
    from app.dead import opened

    with opened(runtime()) as letters:
        _tell("dropped", letters.drop(letter), as_json=json)


def _tell(what: str, letters: list[Letter], *, as_json: bool) -> None:
    if as_json:
        say_json([_record(letter) for letter in letters])
        return
    for letter in letters:
        of = f", {letter.label} of job {letter.job_id}" if letter.label else ""
        say(f"{what}: {letter.id}{of}")


def _record(letter: Letter) -> dict[str, object]:
    at = letter.at_s and datetime.fromtimestamp(letter.at_s, UTC).isoformat(timespec="seconds")
    return {
        "id": letter.id,
        "job": letter.job_id,
        "unit": letter.label,
        "task": letter.task,
        "queue": letter.queue,
        "at": at,
        "reason": letter.reason,
    }
