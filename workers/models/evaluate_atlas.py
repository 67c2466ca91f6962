"""Measures the bundled model: ``python -m workers.models.evaluate_atlas --help``."""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image
from rich.console import Console

from workers.models.atlas_training.earth import (
    cut,
    fetch_earth,
    load_earth,
    random_place,
)
from workers.models.atlas_training.export import (
    DEFAULT_GUIDANCE,
    DEFAULT_SAMPLER,
    DEFAULT_STEPS,
)
from workers.models.atlas_training.measures import (
    Painter,
    Settings,
    chance_score,
    features,
    held_out_crops,
    load_painter,
    nearest,
    negative_effect,
    painting_seconds,
    pairwise_correlation,
    prompt_score,
    rebuild,
    reconstruction,
)
from workers.models.atlas_training.prompts import DOUBLE, PLACED, SINGLE

FOLDER = Path(__file__).parent / "atlas"
WORK = Path(".tilechord/train")
SEEDS = (1, 2)
TRAINING_CROPS = 10_000
VARIETY_PROMPT = "desert coast with turquoise shallows"
SHEET = (
    "desert coast with turquoise shallows",
    "snow mountains above green forest",
    "green islands in a turquoise lagoon",
    "golden desert with mountains",
    "snow in the north, forest in the south",
    "archipelago in the deep ocean",
    "red desert, blue sea in the east",
    "jungle coast with blue sea",
)

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()
Folder = Annotated[Path, typer.Option(help="The model.")]
Work = Annotated[Path, typer.Option(help="Where the data is and the results go.")]
Steps = Annotated[int, typer.Option()]
Guidance = Annotated[float, typer.Option()]
Sampler = Annotated[str, typer.Option(help="ddim, euler or dpm++2m.")]


@app.command()
def everything(
    folder: Folder = FOLDER,
    work: Work = WORK,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    sampler: Sampler = DEFAULT_SAMPLER,
) -> None:
    """All figures of the model card, printed as JSON."""
    start = time.perf_counter()
    painter = load_painter(str(folder), Settings(steps, guidance, sampler))
    figures: dict[str, object] = {"load_s": time.perf_counter() - start}
    figures |= _painting_figures(painter)
    figures["reconstruction"] = _reconstruction(painter, work)
    figures["copies"] = _copies(painter, work)
    console.print_json(json.dumps(figures))


@app.command()
def positions(
    folder: Folder = FOLDER,
    work: Work = WORK,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    sampler: Sampler = DEFAULT_SAMPLER,
) -> None:
    """Prompts with a position alone, the slowest to learn: the figure, and a sheet of them."""
    painter = load_painter(str(folder), Settings(steps, guidance, sampler))
    score, failed, pictures = prompt_score(painter, PLACED, seeds=SEEDS)
    save_grid(pictures.reshape(5, -1, *pictures.shape[2:]), work / "positions.png")
    console.print_json(json.dumps({"position": score, "position_failed": failed}))


@app.command()
def vae(folder: Folder = FOLDER, work: Work = WORK) -> None:
    """The autoencoder alone: figures, and a comparison sheet."""
    painter = load_painter(str(folder), Settings(1, 1.0, "ddim"))
    console.print_json(json.dumps(_reconstruction(painter, work)))


@app.command()
def sheet(
    folder: Folder = FOLDER,
    work: Work = WORK,
    steps: Steps = DEFAULT_STEPS,
    guidance: Guidance = DEFAULT_GUIDANCE,
    sampler: Sampler = DEFAULT_SAMPLER,
    size: int = 128,
) -> None:
    """A sheet of sample pictures: one row per seed, one column per prompt."""
    painter = load_painter(str(folder), Settings(steps, guidance, sampler))
    rows = [painter.paint(list(SHEET), [seed] * len(SHEET), size=size) for seed in SEEDS]
    save_grid(np.stack(rows), work / f"sheet-{size}-{sampler}-{steps}-{guidance}.png")


def _painting_figures(painter: Painter) -> dict[str, object]:
    figures: dict[str, object] = {}
    for name, prompts in (("single", SINGLE), ("two", DOUBLE), ("position", PLACED)):
        score, failed, _ = prompt_score(painter, prompts, seeds=SEEDS)
        figures[name], figures[f"{name}_failed"] = score, failed
        figures[f"{name}_by_chance"] = chance_score(painter, prompts, seeds=SEEDS)
    figures["negative"] = negative_effect(painter)
    figures["seconds_256"] = painting_seconds(painter, size=256)
    return figures


def _reconstruction(painter: Painter, work: Path) -> dict[str, float]:
    """Figures on held-out crops with land; 64 pixels fit all four held-out regions."""
    earth = load_earth(fetch_earth(work / "data"))
    model = painter.pipeline.vae
    shown = held_out_crops(earth, count=10, size=96, land=0.3)
    save_grid(
        np.stack([np.stack(shown), np.stack([rebuild(model, crop) for crop in shown])]),
        work / "reconstruction.png",
    )
    return reconstruction(model, held_out_crops(earth, count=128, size=64, land=0.3))


def _copies(painter: Painter, work: Path, *, count: int = 32) -> dict[str, float]:
    """Variety of one prompt's pictures, and how near they come to training crops.

    The yardstick is how near land that was never trained on comes to training crops by chance.
    """
    pictures = painter.paint([VARIETY_PROMPT] * count, list(range(count)))
    earth, rng = load_earth(fetch_earth(work / "data")), np.random.default_rng(3)
    places = [random_place(rng, 128) for _ in range(TRAINING_CROPS)]
    known = np.concatenate([features(cut(earth, place).pixels[None]) for place in places])
    scores, which = nearest(pictures, known)
    closest = np.argsort(-scores)[:8]
    twins = np.stack([cut(earth, places[which[index]]).pixels for index in closest])
    save_grid(np.stack([pictures[closest], twins]), work / "nearest.png")
    unseen = np.stack(held_out_crops(earth, count=count, size=128, land=0.3))
    return {
        "pairwise_correlation": pairwise_correlation(pictures),
        "nearest_max": float(scores.max()),
        "nearest_mean": float(scores.mean()),
        "held_out_nearest_mean": float(nearest(unseen, known)[0].mean()),
        "held_out_nearest_max": float(nearest(unseen, known)[0].max()),
    }


def save_grid(pictures: npt.NDArray[np.float32], path: Path) -> None:
    """Write *pictures* ``(rows, columns, H, W, 3)`` as one image."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)), constant_values=1.0)
    rows, columns, height, width, _ = padded.shape
    flat = padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((flat * 255).round().astype(np.uint8)).save(path)
    console.print(path)


if __name__ == "__main__":
    app()
