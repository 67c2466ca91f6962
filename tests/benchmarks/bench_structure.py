"""Wrapped pictures and regional prompts with the bundled model: no seam, the right subjects.

Run: ``python -m tests.benchmarks.bench_structure [PROMPTS [SEEDS]]``. A panorama is rolled by half
its width, a texture is laid 2×2, and the seam is measured where the ends met; the same picture
without wrapping is the baseline, and so are all other lines of the same pictures. *Raw* is the
score without the sound segments that are counted besides, *rank* the share of other lines below it.
A quadrant of four with four subjects shows the one of them that covers the most of it, as the model
card's classifier sees it. Pictures go to ``docs/images/structure.jpg``.
"""

import io
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from app.cards import Catalogue
from app.domain.quality.gates import MAX_SEAM_Z
from app.domain.work import Stage, Work
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.benchmarks.bench_modes import PROMPTS, say
from tests.benchmarks.standing import standing
from tests.support.engine import ToyModels, render_picture
from workers.loading import load_model
from workers.models.atlas_training.prompts import FOUND, share
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


class Painter:
    """The bundled model, through every stage of a render."""

    def __init__(self):
        torch.set_num_threads(1)
        self._catalogue = Catalogue([])
        self._model = load_model(self._catalogue, "atlas", torch.device("cpu"))
        self.raster = self._model.card.latent_scale

    def paint(self, **fields):
        """Pixels ``(H, W, 3)``, 8 bit, of a request."""
        request = read_request({"upscale": 1, "seed": 1} | fields)
        plan = plan_request(request, self._catalogue, Settings(model="atlas"))
        context = Context(MemoryStore(), ToyModels(self._model), None, 100.0)
        render_picture(context, plan)
        data = context.store.get(Work(Stage.PICTURE, 0).key(plan))
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def rolled(painter, prompt, **fields):
    """The panorama with its ends in the middle, and the seam there."""
    pixels = painter.paint(prompt=prompt, **fields, **PANORAMA)
    half = pixels.shape[1] // 2
    turned = np.roll(pixels, half, axis=1)
    return turned, standing(turned, painter.raster, column=half)


def laid(painter, prompt, **fields):
    """The texture laid 2×2, and the seams between the four."""
    pixels = painter.paint(prompt=prompt, **fields, **TEXTURE)
    height, width = pixels.shape[:2]
    four = np.tile(pixels, (2, 2, 1))
    return four, standing(four, painter.raster, row=height, column=width)


def quadrants(painter, seed):
    """A picture of four regions, what each shows, and the seam between them."""
    height, width = QUADRANTS["height"], QUADRANTS["width"]
    boxes = [
        {"top": top, "left": left, "bottom": top + height // 2, "right": left + width // 2}
        for top in (0, height // 2)
        for left in (0, width // 2)
    ]
    regions = [{"prompt": text, "box": box} for (_, text), box in zip(SUBJECTS, boxes, strict=True)]
    pixels = painter.paint(prompt="planet", regions=regions, seed=seed, **QUADRANTS)
    parts = [pixels[box["top"] : box["bottom"], box["left"] : box["right"]] for box in boxes]
    shown = [most_of(survey(part.astype(np.float32) / 255)) for part in parts]
    middle = standing(pixels, painter.raster, row=height // 2, column=width // 2)
    return pixels, shown, middle


def most_of(seen):
    """Which of the four subjects covers the most of a quadrant; none below the card's least."""
    kind = max((kind for kind, _ in SUBJECTS), key=lambda kind: share(seen, kind))
    return kind if share(seen, kind) >= FOUND else "none"


def wrapped_rows(painter, prompts):
    """A table row for panoramas and textures, wrapped and not; the first picture of two of each."""
    shown = []
    for name, way, wrap in (("panorama, rolled", rolled, "x"), ("texture, laid 2×2", laid, "xy")):
        for mode, chosen in (("auto", wrap), ("auto", "none"), ("phased", wrap)):
            title = f"{name}, {mode}, wrap {chosen}"
            # A seed each: what its noise happens to have at an end, every prompt would have there.
            drawn = [
                way(painter, prompt, wrap=chosen, mode=mode, seed=seed)
                for seed, prompt in enumerate(track(prompts, title), start=1)
            ]
            if mode == "auto":
                shown.append(drawn[0][0])
            say_row(title, [found for _, found in drawn])
    return shown


def say_row(title, found):
    """Median and worst of what *found* says of the seams, and how many of them pass."""
    score, raw, rank, usual = np.array([astuple(one) for one in found]).T
    say(
        f"| {title} | {np.median(score):.2f} ({score.max():.2f}) | {np.median(raw):.2f} "
        f"({raw.max():.2f}) | {np.median(rank):.0%} ({rank.max():.0%}) | {np.median(usual):.2f} "
        f"({usual.max():.2f}) | {int((score <= MAX_SEAM_Z).sum())} of {len(score)} |"
    )


def region_rows(painter, seeds):
    """A table row for each quadrant, and one for the borders; the first picture."""
    drawn = [quadrants(painter, seed) for seed in track(range(1, seeds + 1), "regions")]
    for number, (kind, text) in enumerate(SUBJECTS):
        shown = [kinds[number] for _, kinds, _ in drawn]
        others = ", ".join(sorted(set(shown) - {kind})) or "–"
        say(f"| region {kind!r}, {text!r} | {shown.count(kind)} of {seeds} | instead: {others} |")
    say_row("borders of regions", [found for _, _, found in drawn])
    return drawn[0][0]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    painter = Painter()
    say("| picture | seam z, median (worst) | raw | rank | elsewhere | passed |")
    say("|---|---|---|---|---|---|")
    regions = region_rows(painter, seeds)
    shown = [*wrapped_rows(painter, [prompt.text for prompt in PROMPTS[:count]]), regions]
    sheet = Image.new("RGB", (1536, 896))
    for pixels, (left, top, width, height) in zip(shown, PLACES, strict=True):
        sheet.paste(Image.fromarray(pixels).resize((width, height)), (left, top))
    sheet.save(PICTURES, quality=88)


if __name__ == "__main__":
    main()
