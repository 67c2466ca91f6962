"""Wrapped pictures and regional prompts with the bundled model: no seam, the right subjects.

Run: ``python -m tests.benchmarks.bench_structure [PROMPTS [SEEDS]]``. A panorama is rolled by half
its width, a texture is laid 2×2, and the seam is measured where the ends met; the same picture
without wrapping is the baseline. Four quadrants with four subjects are classified as in the
model card. Pictures go to ``docs/images/structure.jpg``.
"""

import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from app.cards import Catalogue
from app.domain.quality import Profiler, SeamAxis, SeamGrid, measure
from app.domain.work import Stage, Work
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.benchmarks.bench_modes import PROMPTS, say
from tests.support.engine import ToyModels, render_picture
from workers.loading import load_model
from workers.models.atlas_training.prompts import Ask, is_found
from workers.models.atlas_training.surface import survey
from workers.stages.context import Context

PICTURES = Path("docs/images/structure.jpg")
PANORAMA = {"height": 384, "width": 768}
TEXTURE = {"height": 512, "width": 512}
QUADRANTS = {"height": 512, "width": 512}
SUBJECTS = (
    ("snow", "a frozen land of snow and ice"),
    ("forest", "a lush green jungle, trees and rainforest"),
    ("desert", "a wide sandy desert seen from orbit"),
    ("ocean", "the deep blue ocean, nothing but water"),
)
PLACES = (
    *((0, 0, 768, 384), (768, 0, 768, 384)),
    *((0, 384, 512, 512), (512, 384, 512, 512), (1024, 384, 512, 512)),
)
"""Left, top, width and height of each picture on the sheet."""
LATENT = 4
MAX_Z = 1.5


class Painter:
    """The bundled model, through every stage of a render."""

    def __init__(self):
        torch.set_num_threads(1)
        self._catalogue = Catalogue([])
        self._model = load_model(self._catalogue, "atlas", torch.device("cpu"))

    def paint(self, **fields):
        """Pixels ``(H, W, 3)``, 8 bit, of a request."""
        request = read_request({"upscale": 1, "seed": 1} | fields)
        plan = plan_request(request, self._catalogue, Settings(model="atlas"))
        context = Context(MemoryStore(), ToyModels(self._model), None, 100.0)
        render_picture(context, plan)
        data = context.store.get(Work(Stage.PICTURE, 0).key(plan))
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def seam_z(pixels, *, row=None, column=None):
    """How far the lines at *row* and *column* stand out from all others."""
    height, width = pixels.shape[:2]
    profiler = Profiler(height, width)
    profiler.add(pixels)
    rows, columns = (
        SeamAxis(length, joints=() if line is None else (line,), raster=LATENT)
        for length, line in ((height, row), (width, column))
    )
    return measure(profiler.result(), SeamGrid(rows, columns)).figures["seam_z"]


def rolled(painter, prompt, wrap):
    """The panorama with its ends in the middle, and the seam there."""
    pixels = painter.paint(prompt=prompt, wrap=wrap, mode="phased", **PANORAMA)
    half = pixels.shape[1] // 2
    turned = np.roll(pixels, half, axis=1)
    return turned, seam_z(turned, column=half)


def laid(painter, prompt, wrap):
    """The texture laid 2×2, and the seams between the four."""
    pixels = painter.paint(prompt=prompt, wrap=wrap, mode="phased", **TEXTURE)
    height, width = pixels.shape[:2]
    four = np.tile(pixels, (2, 2, 1))
    return four, seam_z(four, row=height, column=width)


def quadrants(painter, seed):
    """A picture of four regions, how many show what they shall, and the seam between them."""
    height, width = QUADRANTS["height"], QUADRANTS["width"]
    boxes = [
        {"top": top, "left": left, "bottom": top + height // 2, "right": left + width // 2}
        for top in (0, height // 2)
        for left in (0, width // 2)
    ]
    regions = [{"prompt": text, "box": box} for (_, text), box in zip(SUBJECTS, boxes, strict=True)]
    pixels = painter.paint(prompt="planet", regions=regions, seed=seed, **QUADRANTS)
    found = []
    for (kind, _), box in zip(SUBJECTS, boxes, strict=True):
        part = pixels[box["top"] : box["bottom"], box["left"] : box["right"]]
        found.append(is_found(survey(part.astype(np.float32) / 255), Ask(kind)))
    return pixels, found, seam_z(pixels, row=height // 2, column=width // 2)


def wrapped_rows(painter, prompts):
    """A table row for panoramas and textures, wrapped and not; the first picture of each."""
    shown = []
    for name, way, wrap in (("panorama, rolled", rolled, "x"), ("texture, laid 2×2", laid, "xy")):
        for chosen in (wrap, "none"):
            drawn = [way(painter, prompt, chosen) for prompt in track(prompts, f"{name} {chosen}")]
            shown.append(drawn[0][0])
            z = np.array([one for _, one in drawn])
            passed = int((z <= MAX_Z).sum())
            say(
                f"| {name}, wrap {chosen} | {np.median(z):.2f} ({z.max():.2f}) | "
                f"{passed} of {len(z)} |"
            )
    return shown


def region_rows(painter, seeds):
    """A table row for each subject, and one for the borders; the first picture."""
    drawn = [quadrants(painter, seed) for seed in track(range(1, seeds + 1), "regions")]
    for number, (kind, text) in enumerate(SUBJECTS):
        hits = sum(found[number] for _, found, _ in drawn)
        say(f"| region {kind!r}, prompt {text!r} | – | {hits} of {seeds} |")
    z = np.array([one for _, _, one in drawn])
    say(
        f"| borders of regions | {np.median(z):.2f} ({z.max():.2f}) | "
        f"{int((z <= MAX_Z).sum())} of {seeds} |"
    )
    return drawn[0][0]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    painter = Painter()
    say("| picture | seam z, median (worst) | as asked |")
    say("|---|---|---|")
    regions = region_rows(painter, seeds)
    shown = [*wrapped_rows(painter, [prompt.text for prompt in PROMPTS[:count]]), regions]
    sheet = Image.new("RGB", (1536, 896))
    for pixels, (left, top, width, height) in zip(shown, PLACES, strict=True):
        sheet.paste(Image.fromarray(pixels).resize((width, height)), (left, top))
    sheet.save(PICTURES, quality=88)


if __name__ == "__main__":
    main()
