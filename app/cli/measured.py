"""What the command ``quality`` measures, draws and tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from app import client
from app.bootstrap import runtime
from app.cli.output import say, say_json, say_table
from app.cli.seamlines import TypedLines
from app.domain.errors import InvalidRequestError, NotFoundError, StorageUnavailableError
from app.domain.quality import GATES, Profiler, SeamGrid, SeamScores, measure, misses
from app.domain.quality.planned import seams_of
from app.measuring import image_figures, measure_stored, stored_picture
from app.pictures.heatmap import PREVIEW_SIDE, draw_seams
from app.pictures.rows import PictureFile


@dataclass(frozen=True, slots=True)
class Found:
    """Figures; of a picture that was measured just now also where its seams are."""

    figures: dict[str, float]
    picture: PictureFile | None = None
    grid: SeamGrid | None = None
    seams: SeamScores | None = None


def of_file(path: Path, lines: TypedLines | None) -> Found:
    """What is found in a picture file from anywhere."""
    if lines is None:
        raise typer.BadParameter(
            "must be given for a picture file, or --rows or --columns", param_hint="--grid"
        )
    picture = PictureFile(path, max_mpx=runtime().settings.max_canvas_mpx)
    grid = lines.on(picture.height, picture.width)
    profiler = Profiler(picture.height, picture.width)
    for piece in picture.pieces():
        profiler.add(piece)
    quality = measure(profiler.result(), grid)
    return Found(quality.figures, picture, grid, quality.seams)


def of_manifest(job_id: str) -> Found:
    """What the manifest of a finished job says."""
    return Found(client.result(job_id).quality)


def of_job(job_id: str, image: int) -> Found:
    """What is found in a picture of a finished job."""
    count = len(client.result(job_id).images)
    if not 0 <= image < count:
        raise NotFoundError(f"job {job_id} has pictures 0 to {count - 1}, got {image}")
    app = runtime()
    plan = app.ledger.plan(job_id)
    quality = measure_stored(app.store, plan, image)
    figures = image_figures(app.store, plan, image) | quality.figures
    return Found(figures, stored_picture(app.store, plan, image), seams_of(plan), quality.seams)


def check_heatmap(path: Path | None) -> None:
    """Refuse before measuring, not after."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise typer.BadParameter(
            f"must end in .png, got {path.name[-60:]!r}", param_hint="--heatmap"
        )
    if not path.parent.is_dir():
        raise InvalidRequestError(
            f"--heatmap must lie in an existing folder, {path.parent} is none"
        )
    if path.is_dir():
        raise InvalidRequestError(f"--heatmap must be a file, {path} is a folder")


def draw(found: Found, target: Path) -> None:
    """Write the heat map of what was measured."""
    if found.picture is None or found.grid is None or found.seams is None:
        raise InvalidRequestError("a manifest alone cannot be drawn")
    canvas = draw_seams(found.picture.preview(PREVIEW_SIDE), found.grid, found.seams)
    try:
        canvas.save(target, "PNG")
    except OSError as err:
        raise StorageUnavailableError(f"heat map {target} cannot be written: {err}") from err


def tell(figures: Mapping[str, float], heatmap: Path | None, *, as_json: bool) -> None:
    """Print each figure with its gate, and the name of the heat map."""
    missed = misses(figures)
    if as_json:
        gates = {
            name: {"at_least" if gate.is_floor else "at_most": gate.limit}
            for name, gate in GATES.items()
        }
        drawn = {"heatmap": str(heatmap)} if heatmap else {}
        say_json({"quality": dict(figures), "gates": gates, "misses": missed} | drawn)
        return
    rows = []
    for name, value in figures.items():
        gate = GATES.get(name)
        limit = f"{'≥' if gate.is_floor else '≤'} {_spoken(name, gate.limit)}" if gate else "-"
        verdict = ("missed" if name in missed else "ok") if gate else "-"
        rows.append((name, _spoken(name, value), limit, verdict))
    say_table(("figure", "value", "gate", ""), rows)
    if heatmap:
        say(str(heatmap))


def _spoken(name: str, value: float) -> str:
    """Tones in steps of 8-bit pictures, shares in percent."""
    if name == "low_frequency_drift":
        return f"{255 * value:.1f}/255"
    if name == "overlap_disagreement":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}"
