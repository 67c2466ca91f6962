"""Computes an upscaler's or restorer's setting: ``python -m workers.upscale.settings --help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from app.cards import file_sha256
from app.domain.errors import RenderError
from app.domain.plan import canonical_json
from app.settings import settings
from workers.upscale.load import read_upscaler


def main(
    name: Annotated[str, typer.Argument(help="What requests call it.")],
    path: Annotated[Path, typer.Argument(help="The network, any that spandrel can read.")],
) -> None:
    """Print the value of TILECHORD_UPSCALERS with one more network.

    Its padding is computed from its layers. Clients and workers need the same value; workers
    read the file.
    """
    known = {other: file.model_dump(mode="json") for other, file in settings().upscalers.items()}
    padding = read_upscaler(path, torch.device("cpu")).padding
    own = {"path": str(path.resolve()), "sha256": file_sha256(path), "padding": padding}
    typer.echo(canonical_json(known | {name: own}))


if __name__ == "__main__":
    try:
        typer.run(main)
    except RenderError as err:
        raise SystemExit(f"settings: {err}") from err
