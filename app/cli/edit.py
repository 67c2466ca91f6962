"""The command that paints a part of a finished picture anew: ``rerender``."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from app.cli.jobs import Job
from app.cli.options import Json, choose_format
from app.cli.render import Output
from app.domain.geometry import Box

_BOX = re.compile(r"(\d{1,9})[x×](\d{1,9})\+(\d{1,9})\+(\d{1,9})")
_TILE = re.compile(r"(\d{1,9}),(\d{1,9})")


def rerender(
    job: Job,
    seed: Annotated[int, typer.Option(help="Another seed, another part.")],
    tile: Annotated[
        str | None, typer.Option(metavar="ROW,COLUMN", help="Tile to paint anew, from 0,0.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT+LEFT+TOP", help="Part to paint anew.")
    ] = None,
    image: Annotated[int, typer.Option(help="Which picture of the job.")] = 0,
    prompt: Annotated[str | None, typer.Option(help="What to paint; else as before.")] = None,
    strength: Annotated[float | None, typer.Option(help="Change of the part, 0 to 1.")] = None,
    nsr: Annotated[float | None, typer.Option(help="Noise the part starts from.")] = None,
    output: Output = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Render on the cluster.")] = False,
    json: Json = False,
) -> None:
    """Paint a part of a finished picture anew; everything else stays as it is.

    Without --strength or --nsr the part is made from noise alone.
    """
    from app import client
    from app.cli import rendering
    from app.cli.broker import require_broker
    from app.cli.summary import preview

    start, part = time.monotonic(), _part(tile, box)
    rendering.check_output(output)
    if cluster:
        require_broker("--cluster")
    else:
        rendering.use_this_process()
    fields = {
        "prompt": prompt,
        "strength": strength,
        "nsr": nsr,
        "format": choose_format(None, output),
    }
    changes = {name: value for name, value in fields.items() if value is not None}
    request = client.rerender_request(job, part, seed=seed, image=image, **changes)
    preview(request.model_dump(mode="json"), {})  # refused before the model is loaded
    finish = rendering.finish_there if cluster else rendering.finish_here
    manifest = finish(lambda: client.submit(request), is_quiet=json)
    rendering.deliver(manifest, output, start=start, as_json=json, with_timeline=False)


def _part(tile: str | None, box: str | None) -> Box | tuple[int, int]:
    if (tile is None) == (box is None):
        raise typer.BadParameter("must be given, or --box, and not both", param_hint="--tile")
    if tile is not None:
        return _tile(tile)
    match = _BOX.fullmatch(str(box).strip())
    if match is None:
        raise typer.BadParameter(
            f"must be WIDTHxHEIGHT+LEFT+TOP such as 512x512+0+256, got {str(box)[:60]!r}",
            param_hint="--box",
        )
    width, height, left, top = (int(match[group]) for group in range(1, 5))
    return Box(top, left, top + height, left + width)


def _tile(text: str) -> tuple[int, int]:
    match = _TILE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(
            f"must be ROW,COLUMN such as 3,4, got {text[:60]!r}", param_hint="--tile"
        )
    return int(match[1]), int(match[2])
