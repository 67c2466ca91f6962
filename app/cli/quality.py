"""The command ``quality``: how sound a picture made of tiles is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Json, check_format
from app.cli.render import StoredOutput
from app.exits import ExitCode

Grid = Annotated[
    str | None,
    typer.Option(metavar="TILExOVERLAP", help="Tiles of a picture file, such as 512x128."),
]
Rows = Annotated[
    str | None, typer.Option(metavar="Y,Y", help="Horizontal lines of a picture file.")
]
Columns = Annotated[
    str | None, typer.Option(metavar="X,X", help="Vertical lines of a picture file.")
]
Wrap = Annotated[str | None, typer.Option(help="Ends of a picture file that meet: x or xy.")]
Image = Annotated[int | None, typer.Option(help="Measure this picture of a job anew, from 0.")]
Heatmap = Annotated[
    Path | None, typer.Option(help="PNG to draw: the picture, and where its seams show.")
]
Gate = Annotated[bool, typer.Option("--gate", help="Exit with 6 when a figure misses its gate.")]
Repair = Annotated[
    bool, typer.Option("--repair-seams", help="Paint a job's seams above the gate anew.")
]
Cluster = Annotated[bool, typer.Option("--cluster", help="Repair on the cluster.")]


def quality(
    subject: Annotated[str, typer.Argument(help="Job id, or a picture file.")],
    grid: Grid = None,
    rows: Rows = None,
    columns: Columns = None,
    wrap: Wrap = None,
    image: Image = None,
    heatmap: Heatmap = None,
    gate: Gate = False,
    repair_seams: Repair = False,
    output: StoredOutput = None,
    cluster: Cluster = False,
    json: Json = False,
) -> None:
    """Tell how sound a picture made of tiles is: seams, lost detail, drift, repetition.

    Of a job, what its manifest says: the worst of its pictures. With --image or --heatmap one of
    them is measured anew. A picture file needs --grid, --rows or --columns.
    """
    from app.cli import measured
    from app.cli.seamlines import read_lines
    from app.domain.quality import misses

    if repair_seams:
        _repair(subject, image or 0, output, on_cluster=cluster, as_json=json)
        return
    if output is not None or cluster:
        raise typer.BadParameter("is for --repair-seams", param_hint="--output, --cluster")
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


def _repair(
    job_id: str, image: int, output: Path | None, *, on_cluster: bool, as_json: bool
) -> None:
    from app import client
    from app.cli import mending, rendering
    from app.cli.broker import require_broker

    start = time.monotonic()
    rendering.check_output(output)
    if on_cluster:
        require_broker("--cluster")
    else:
        rendering.use_this_process()
    check_format(output, client.result(job_id).images[0].format)
    found = client.seam_repairs(job_id, image)
    finish = rendering.finish_there if on_cluster else rendering.finish_here
    manifest = mending.paint(
        job_id, image, found, lambda part: finish(lambda: client.submit(part), is_quiet=as_json)
    )
    rendering.deliver(manifest, output, start=start, as_json=as_json, with_timeline=False)
