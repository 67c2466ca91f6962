"""Ways to decode a canvas: distance to one whole decode, time and memory.

Run: ``python -m tests.benchmarks.bench_decode [SIDE ...]``. Latents are those of the README's
picture and the decoder is the bundled model's; each way runs in a process of its own, whose peak
is given above what it held before. Time is the sum over all parts, *alone* what cannot be shared.
*Headless* is told from ``head``, at whose statistics it decodes: what attending to a part misses.
Of canvases that are too large for a head this alone is told, of a head that has no limit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from app.cards import Catalogue
from app.domain.card import ModelCard
from app.domain.decoding import HEAD_LATENTS, plan_decode
from app.domain.geometry import Box
from app.domain.plan import Decode
from tests.benchmarks.ways import peak_mb, read_picture, run_ways
from workers.loading import load_model
from workers.vae import (
    Latents,
    Pixels,
    decode,
    decode_tail,
    encode,
    survey_decoder,
    survey_encoder,
    survey_head,
)

SIDES = (1024, 2048)


class Decoder:
    """The bundled decoder and the ways to use it; each returns pixels and seconds alone."""

    def __init__(self, folder: Path) -> None:
        model = load_model(Catalogue([]), "atlas", torch.device("cpu"))
        self.card: ModelCard = model.card
        self.vae = model.vae
        self._kept = folder / "statistics.npy"

    def latents(self, side: int) -> Latents:
        pixels = read_picture(side)
        statistics = survey_encoder(self.vae, [pixels[:512, :512]], rim=0)
        return np.concatenate(
            [encode(self.vae, band, statistics) for band in np.split(pixels, side // 256)], axis=1
        )

    def plan(self, latents: Latents) -> Decode:
        return plan_decode(self.card, *latents.shape[1:], None, whole=False)

    def whole(self, latents: Latents) -> tuple[Pixels, float]:
        """As one picture, by diffusers."""
        start = time.perf_counter()
        with torch.inference_mode():
            decoded = self.vae.decode(torch.from_numpy(latents)[None]).sample[0]
        pixels = (decoded * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
        return pixels, time.perf_counter() - start

    def tiling(self, latents: Latents) -> tuple[Pixels, float]:
        """In tiles of the model's native size, blended, by diffusers."""
        self.vae.enable_tiling()
        return self.whole(latents)

    def head(self, latents: Latents) -> tuple[Pixels, float]:
        """Head on the whole canvas, statistics of windows, tails of cores."""
        plan, start = self.plan(latents), time.perf_counter()
        statistics, features = survey_head(self.vae, latents, plan.windows, plan.rim)
        alone = time.perf_counter() - start
        np.save(self._kept, statistics)
        plan = replace(plan, padding=self.card.tail_padding)
        pixels = self._cores(plan, features, lambda part: decode_tail(self.vae, part, statistics))
        return pixels, alone

    def cores(self, latents: Latents) -> tuple[Pixels, float]:
        """Statistics of windows, whole decoder on cores: beyond the limit of a head."""
        plan, start = self.plan(latents), time.perf_counter()
        windows = [latents[(slice(None), *box.window)] for box in plan.windows]
        statistics = survey_decoder(self.vae, windows, plan.rim)
        alone = time.perf_counter() - start
        plan = replace(plan, padding=self.card.decoder_padding)
        return self._cores(plan, latents, lambda part: decode(self.vae, part, statistics)), alone

    def headless(self, latents: Latents) -> tuple[Pixels, float]:
        """As ``cores`` at the statistics of ``head``."""
        plan, statistics = self.plan(latents), np.load(self._kept)
        plan = replace(plan, padding=self.card.decoder_padding)
        return self._cores(plan, latents, lambda part: decode(self.vae, part, statistics)), 0.0

    def base(self, latents: Latents) -> tuple[Pixels, float]:
        """As ``cores`` with the statistics of the picture at native size, not of the canvas."""
        start, native = time.perf_counter(), self.card.native_size
        small = encode(self.vae, read_picture(native))
        statistics = survey_decoder(self.vae, [small], rim=0)
        alone = time.perf_counter() - start
        plan = replace(self.plan(latents), padding=self.card.decoder_padding)
        return self._cores(plan, latents, lambda part: decode(self.vae, part, statistics)), alone

    def _cores(self, plan: Decode, array: Latents, run: Callable[[Latents], Pixels]) -> Pixels:
        canvas, scale = Box(0, 0, *array.shape[1:]), self.card.latent_scale
        pixels = np.empty((canvas.height * scale, canvas.width * scale, 3), np.float32)
        for core in plan.cores:
            padded = core.padded(plan.padding, within=canvas)
            part = run(array[(slice(None), *padded.window)])
            pixels[core.scaled(scale).window] = part[core.relative_to(padded).scaled(scale).window]
        return pixels


WAYS = ("whole", "tiling", "base", "cores", "head", "headless")
WITHOUT_LIMIT = ("head", "headless")
AGAINST = {"headless": "head"}
"""What a way is told from, where that is not the whole decode."""
_FIRST = "latents"


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in (_FIRST, *WAYS):
        _measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
        return
    sides = [int(text) for text in sys.argv[1:]] or SIDES
    header = "way      side px  mean /255  max /255  seconds  alone  peak MB"
    scale = Catalogue([]).card("atlas").latent_scale
    small = [side for side in sides if (side // scale) ** 2 <= HEAD_LATENTS]
    run_ways("tests.benchmarks.bench_decode", header, (_FIRST, *WAYS), small)
    large = [side for side in sides if side not in small]
    run_ways("tests.benchmarks.bench_decode", header, (_FIRST, *WITHOUT_LIMIT), large)


def _measure(way: str, side: int, folder: Path) -> None:
    torch.set_num_threads(1)
    decoder, kept = Decoder(folder), folder / "latents.npy"
    if way == _FIRST:  # in a process of its own too: encoding must not count as memory
        np.save(kept, decoder.latents(side))
        return
    latents = np.load(kept)
    before, start = peak_mb(), time.perf_counter()
    pixels, alone = getattr(decoder, way)(latents)
    seconds, peak = time.perf_counter() - start, peak_mb() - before
    np.save(folder / f"{way}.npy", pixels)
    truth = folder / f"{AGAINST.get(way, 'whole')}.npy"
    error = 255 * np.abs(pixels - np.load(truth)) if truth.exists() else np.full(1, np.nan)
    sys.stdout.write(
        f"{way:<8} {side:>7} {error.mean():>10.3f} {error.max():>9.2f} {seconds:>8.1f} "
        f"{alone:>6.1f} {peak:>8.0f}\n"
    )


if __name__ == "__main__":
    main()
