"""The command ``quality``: how sound a picture made of tiles is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Json
from app.exits import ExitCode


def quality(
    subject: Annotated[str, typer.Argument(help="Job id, or a picture file.")],
    grid: Annotated[
        str | None,
        typer.Option(metavar="TILExOVERLAP", help="Tiles of a picture file, such as 512x128."),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="Y,Y", help="Horizontal lines of a picture file.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="X,X", help="Vertical lines of a picture file.")
    ] = None,
    wrap: Annotated[
        str | None, typer.Option(help="Ends of a picture file that meet: x or xy.")
    ] = None,
    image: Annotated[
        int | None, typer.Option(help="Measure this picture of a job anew, from 0.")
    ] = None,
    heatmap: Annotated[
        Path | None, typer.Option(help="PNG to draw: the picture, and where its seams show.")
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit with 6 when a figure misses its gate.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell how sound a picture made of tiles is: seams, lost detail, drift, repetition.

    Of a job, what its manifest says: the worst of its pictures. With --image or --heatmap one of
    them is measured anew. A picture file needs --grid, --rows or --columns.
    """
    from app.cli import measured
    from app.cli.seamlines import read_lines
    from app.domain.quality import misses

    measured.check_heatmap(heatmap)
    lines = read_lines(grid, rows, columns, wrap)
    if lines is not None or Path(subject).is_file():
        if image is not None:
            raise typer.BadParameter("is for jobs: a file has one picture", param_hint="--image")
        found = measured.of_file(Path(subject), lines)
    elif image is None and heatmap is None:
        found = measured.of_manifest(subject)
    else:
        found = measured.of_job(subject, image or 0)
    if heatmap is not None:
        measured.draw(found, heatmap)
    measured.tell(found.figures, heatmap, as_json=json)
    if gate and misses(found.figures):
        raise typer.Exit(ExitCode.QUALITY)
