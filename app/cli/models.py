"""Commands about models: ``models list`` and ``models verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import Json
from app.cli.output import say, say_json, say_table

if TYPE_CHECKING:
    from app.cards import Catalogue, Kind

models = typer.Typer(no_args_is_help=True, help="List and verify models.")


@models.command("list")
def list_models(json: Json = False) -> None:
    """List the models this machine has, and what can be added to them."""
    from app.bootstrap import runtime
    from app.cards import Kind
    from app.domain.errors import RenderError

    catalogue = runtime().catalogue
    rows: list[dict[str, object]] = []
    for kind in Kind:
        for name in catalogue.names(kind):
            folder = catalogue.folder(name, kind)
            try:
                facts = _facts(catalogue, kind, name)
            except RenderError as err:
                facts = {"problem": str(err)}
            rows.append({"name": name, **facts, "folder": str(folder)})
    if json:
        say_json(rows)
        return
    say_table(
        ("name", "kind", "native px", "steps", "sampler", "revision"),
        (
            (
                row["name"],
                row.get("kind", "-"),
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
    """Compare the files of a model, LoRA or control network with its manifest."""
    from app import cards
    from app.bootstrap import runtime
    from app.domain.errors import InvalidRequestError

    catalogue = runtime().catalogue
    if write and model is None:
        raise InvalidRequestError("--write needs the model whose files you trust")
    everything = [folder for kind in cards.Kind for folder in catalogue.folders(kind)]
    for folder in [_folder(catalogue, model)] if model else everything:
        if write:
            say(f"{folder.name}: wrote the manifest of {cards.write_manifest(folder)} files")
        else:
            say(f"{folder.name}: {cards.verify(folder)} files are as in the manifest")


def _facts(catalogue: Catalogue, kind: Kind, name: str) -> dict[str, object]:
    from app.cards import Kind

    if kind is Kind.LORA:
        return {"kind": kind, "revision": catalogue.lora_revision(name)}
    if kind is Kind.CONTROL:
        control = catalogue.control_card(name)
        return {"kind": f"{kind}, {control.family}", "revision": control.revision}
    card = catalogue.card(name)
    return {
        "kind": f"{kind}, {card.family}",
        "native_size": card.native_size,
        "steps": card.default_steps,
        "sampler": card.default_sampler,
        "revision": card.revision,
    }


def _folder(catalogue: Catalogue, name: str) -> Path:
    """The folder *name*, else the one of whatever is called so."""
    from app.cards import Kind, kind_of

    if kind_of(Path(name)):
        return Path(name).resolve()
    kinds = (kind for kind in Kind if name in catalogue.names(kind))
    return catalogue.folder(name, next(kinds, Kind.MODEL))
