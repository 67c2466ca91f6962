"""Commands about models: ``models list`` and ``models verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Json
from app.cli.output import say, say_json, say_table

models = typer.Typer(no_args_is_help=True, help="List and verify models.")


@models.command("list")
def list_models(json: Json = False) -> None:
    """List the models this machine has."""
    from app.bootstrap import runtime
    from app.domain.errors import RenderError

    catalogue = runtime().catalogue
    rows: list[dict[str, object]] = []
    for name in catalogue.names():
        try:
            card = catalogue.card(name)
        except RenderError as err:
            rows.append({"name": name, "problem": str(err)})
            continue
        rows.append(
            {
                "name": name,
                "native_size": card.native_size,
                "steps": card.default_steps,
                "sampler": card.default_sampler,
                "revision": card.revision,
                "folder": str(catalogue.folder(name)),
            }
        )
    if json:
        say_json(rows)
        return
    say_table(
        ("name", "native px", "steps", "sampler", "revision"),
        (
            (
                row["name"],
                row.get("native_size", "-"),
                row.get("steps", "-"),
                row.get("sampler", "-"),
                row.get("problem") or str(row["revision"])[:12],
            )
            for row in rows
        ),
    )


@models.command()
def verify(
    model: Annotated[str | None, typer.Argument(help="Name or folder; all when left out.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Trust the files as they are: write the manifest.")
    ] = False,
) -> None:
    """Compare a model's files with its manifest."""
    from app import cards
    from app.bootstrap import runtime
    from app.domain.errors import InvalidRequestError

    catalogue = runtime().catalogue
    if write and model is None:
        raise InvalidRequestError("--write needs the model whose files you trust")
    for name in [model] if model else catalogue.names():
        is_folder = (Path(name) / "model_index.json").is_file()
        folder = Path(name).resolve() if is_folder else catalogue.folder(name)
        if write:
            say(f"{folder.name}: wrote the manifest of {cards.write_manifest(folder)} files")
        else:
            say(f"{folder.name}: {cards.verify(folder)} files are as in the manifest")
