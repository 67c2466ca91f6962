"""Seams, agreement and time of every mode with the bundled model, side by side.

Run: ``python -m tests.benchmarks.bench_modes [PROMPTS [SIDE [WAY ...]]]``; writes the rows of
``docs/quality.md``'s table to the terminal. Without WAY all are rendered. *Tiles apart* is how much
the pixels of two tiles differ where they overlap, before they are blended. Their first pictures are
kept, and put on the sheet ``docs/images/modes.jpg`` once there is one of each.
"""

import io
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from app.cards import Catalogue
from app.domain.layout import default_overlap
from app.domain.planner import Limits, plan_render
from app.domain.quality.gates import GATES
from app.domain.spec import Mode, RenderSpec
from app.domain.work import Stage, Work, image_key
from app.storage.memory import MemoryStore
from tests.support.engine import ToyModels, render_picture
from tests.support.independent import independent_tiles
from workers.loading import load_model
from workers.models.atlas_training.prompts import DOUBLE, PLACED, SINGLE
from workers.stages.context import Context
from workers.vae import decode

PICTURES = Path("docs/images/modes.jpg")
KEPT = Path(".tilechord/modes")
SHOWN_PX = 512
ON_SHEET = 6
"""The first so many ways are."""
LIMITS = Limits(max_canvas_mpx=300, max_tiles=20_000, max_count=1)
PROMPTS = [*SINGLE[::5], *DOUBLE[::5], *PLACED[::5]]
"""Twelve of the prompts that the model was never trained on."""


def spec_of(prompt, side, card, mode, **changes):
    return RenderSpec(
        prompt=prompt,
        negative_prompt="",
        height=side,
        width=side,
        count=1,
        seed=1,
        steps=card.default_steps,
        guidance=card.default_guidance,
        sampler=card.default_sampler,
        mode=mode,
        nsr=card.default_nsr,
        tile=card.native_size,
        overlap=default_overlap(card, card.native_size),
        upscale=1,
        base_model=card.name,
        refine_model=card.name,
        upscaler="none",
        init_image=None,
        format="png",
        **changes,
    )


def planned(spec, card):
    return plan_render(spec, {card.name: card}, upscaler=None, limits=LIMITS)


def naive(prompt, side, card, *, is_blended=False):
    """Every tile painted on its own."""
    render = planned(spec_of(prompt, side, card, Mode.PHASED), card)
    return independent_tiles(render, card, is_blended=is_blended)


def variants(card):
    """Name of each way to render, and its plan for a prompt and a size."""
    ways = {
        mode.value: lambda prompt, side, mode=mode: planned(spec_of(prompt, side, card, mode), card)
        for mode in (Mode.REFINE, Mode.PHASED, Mode.MULTIDIFFUSION, Mode.SPOT)
    }
    ways["refine, tiles pasted"] = lambda prompt, side: planned(
        replace(spec_of(prompt, side, card, Mode.REFINE), overlap=0), card
    )
    ways["naive tiles"] = lambda prompt, side: naive(prompt, side, card)
    ways["naive, blended"] = lambda prompt, side: naive(prompt, side, card, is_blended=True)
    return ways


def measure(model, render):
    """Figures and CPU seconds of one picture, and its pixels."""
    context = Context(MemoryStore(), ToyModels(model), None, 100.0)
    start = time.process_time()  # one thread: others on the machine do not count
    figures = render_picture(context, render)
    seconds = time.process_time() - start
    store, work = context.store, Work(Stage.PICTURE, 0)
    picture = Image.open(io.BytesIO(store.get(work.key(render)))).convert("RGB")
    return figures | {"apart": apart_levels(context, model, render)}, seconds, picture


def apart_levels(context, model, render):
    """Root mean square difference of two tiles' pixels where they overlap, of 255.

    The last tiles are pasted over each other in their order and in the reverse one: both canvases,
    decoded whole, show one tile alone everywhere, and where two overlap not the same.
    """
    phase, number = render.phases[-1], len(render.phases) - 1
    tiles = {
        index: context.array(Work(Stage.TILE, 0, number, index).key(render))
        for index in phase.indices
    }
    canvas = (model.card.latent_channels, render.canvas_height, render.canvas_width)
    covered = np.zeros(canvas[1:], np.int32)
    shown, statistics = [], None
    if render.decode.freezes_statistics:
        statistics = context.array(image_key(render, 0, "statistics"))
    for order in (list(tiles), list(tiles)[::-1]):
        pasted = np.zeros(canvas, np.float32)
        for index in order:
            window = phase.grid.tile(index).window
            pasted[(slice(None), *window)] = tiles[index]
            covered[window] += 1
        shown.append(decode(model.vae, pasted, statistics))
    scale = render.latent_scale
    inside = np.kron(covered > 2, np.ones((scale, scale), bool))  # each tile was counted twice
    if not inside.any():
        return 0.0
    return 255 * float(np.sqrt(((shown[0] - shown[1]) ** 2)[inside].mean()))


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    torch.set_num_threads(1)
    model = load_model(Catalogue([]), "atlas", torch.device("cpu"))
    ways = variants(model.card)
    prompts = [prompt.text for prompt in PROMPTS[:: max(1, len(PROMPTS) // count)][:count]]
    KEPT.mkdir(parents=True, exist_ok=True)
    say("| mode | tiles | seam z (worst) | disagreement (worst) | tiles apart | passed | CPU s |")
    say("|---|---|---|---|---|---|---|")
    for name in sys.argv[3:] or ways:
        rows = [measure(model, ways[name](prompt, side)) for prompt in track(prompts, name)]
        rows[0][2].resize((SHOWN_PX, SHOWN_PX)).save(KEPT / f"{name} {side}.png")
        say(line(name, ways[name](prompts[0], side), rows))
    draw_sheet([KEPT / f"{name} {side}.png" for name in list(ways)[:ON_SHEET]])


def draw_sheet(paths):
    """The pictures of *paths* side by side, three a row; nothing while one is missing."""
    if not all(path.exists() for path in paths):
        return
    sheet = Image.new("RGB", (SHOWN_PX * 3, SHOWN_PX * -(-len(paths) // 3)))
    for place, path in enumerate(paths):
        sheet.paste(Image.open(path), (SHOWN_PX * (place % 3), SHOWN_PX * (place // 3)))
    sheet.save(PICTURES, quality=88)


def line(name, render, rows):
    """One row of the table: medians, the worst in brackets."""
    z, from_blend, apart = (
        np.array([figures.get(key, 0.0) for figures, _, _ in rows])
        for key in ("seam_z", "overlap_disagreement", "apart")
    )
    passed = sum(
        GATES["seam_z"].passes(one) and GATES["overlap_disagreement"].passes(other)
        for one, other in zip(z, from_blend, strict=True)
    )
    seconds = np.median([seconds for _, seconds, _ in rows])
    tiles = sum(len(phase.indices) for phase in render.phases)
    return (
        f"| {name} | {tiles} | {np.median(z):.2f} ({z.max():.2f}) | "
        f"{100 * np.median(from_blend):.1f} % ({100 * from_blend.max():.1f} %) | "
        f"{np.median(apart):.1f}/255 ({apart.max():.1f}) | "
        f"{passed} of {len(rows)} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
