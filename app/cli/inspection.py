"""Commands that look: ``recipe`` into a picture, ``doctor`` at this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Json
from app.cli.output import say, say_json


def recipe(
    file: Annotated[Path, typer.Argument(help="Picture that tilechord wrote.")],
    json: Json = False,
) -> None:
    """Print what a picture was made from."""
    from app.pictures.embedding import read_recipe

    found = read_recipe(file)
    if json:
        say(found.to_json())
    else:
        say(found.parameters_text())


def doctor(json: Json = False) -> None:
    """Check packages, broker, results, workers, store, model and disk, and say what to do.

    That no worker is alive is told and is no failure: the exit code stays 0.
    """
    from app.doctor import examine

    findings = examine()
    if json:
        say_json(
            [
                {
                    "name": each.name,
                    "ok": each.is_ok,
                    "message": each.message,
                    "advice": each.advice,
                }
                for each in findings
            ]
        )
    else:
        for each in findings:
            say(f"{'ok    ' if each.is_ok else 'failed'}  {each.name}: {each.message}")
            if each.advice:
                say(f"        {each.advice}")
    raise typer.Exit(max((each.exit_code for each in findings), default=0))
