"""Ways to encode a picture: distance to one whole encode, time and memory.

Run: ``python -m tests.benchmarks.bench_encode [SIDE ...]``. The picture is the README's at the
canvas's size, the encoder the bundled model's; each way runs in a process of its own, whose peak is
given above what it held before. Pixels are those of one whole decode of a way's latents.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from app.cards import Catalogue
from app.domain.card import ModelCard
from app.domain.decoding import CORE_LATENTS
from app.domain.plan import Overview, RenderPlan
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from tests.benchmarks.ways import peak_mb, read_picture, run_ways
from workers.encoding import encode_bands
from workers.enlarge import Enlarger, native_picture
from workers.loading import load_model
from workers.vae import Latents, Pixels, decode, encode, survey_encoder

SIDES = (1024,)


class Encoder:
    """The bundled encoder and the ways to use it; each returns latents ``(C, h, w)``."""

    def __init__(self) -> None:
        self._catalogue = Catalogue([])
        model = load_model(self._catalogue, "atlas", torch.device("cpu"))
        self.card: ModelCard = model.card
        self.vae = model.vae

    def whole(self, pixels: Pixels) -> Latents:
        """As one picture, by diffusers."""
        with torch.inference_mode():
            signal = torch.from_numpy(pixels).permute(2, 0, 1)[None] * 2.0 - 1.0
            latents = self.vae.encode(signal).latent_dist.mode()[0]
        return latents.numpy() * np.float32(self.vae.config.scaling_factor)

    def tiling(self, pixels: Pixels) -> Latents:
        """In tiles of the model's native size, blended, by diffusers."""
        self.vae.enable_tiling()
        return self.whole(pixels)

    def native(self, pixels: Pixels) -> Latents:
        """Whole encoder on cores, statistics of the picture at native size."""
        plan = self._without_head(self._plan(pixels))
        statistics = survey_encoder(self.vae, [native_picture(pixels, self.card)], rim=0)
        run = partial(encode, self.vae, statistics=statistics)
        return Enlarger(plan, pixels).in_cores(plan.canvas, CORE_LATENTS, run)

    def cores(self, pixels: Pixels) -> Latents:
        """Whole encoder on cores, statistics of windows: beyond the limit of a head."""
        return self._bands(self._without_head(self._plan(pixels)), pixels)

    def head(self, pixels: Pixels) -> Latents:
        """Down path in cores, statistics of windows, middle block on the whole canvas."""
        return self._bands(self._plan(pixels), pixels)

    def exact(self, pixels: Pixels) -> Latents:
        """As ``head`` with the statistics of the whole canvas, which take its memory."""
        plan = self._plan(pixels)
        seen = replace(_overview(plan), windows=(plan.canvas,), rim=0)
        return self._bands(replace(plan, encode=seen), pixels)

    def _plan(self, pixels: Pixels) -> RenderPlan:
        side = len(pixels)
        order = {"prompt": "islands", "height": side, "width": side, "mode": "refine"}
        return plan_request(read_request(order), self._catalogue, Settings(model="atlas"))

    def _without_head(self, plan: RenderPlan) -> RenderPlan:
        seen = replace(_overview(plan), head=False)
        return replace(plan, encode=seen, encoder_padding=self.card.encoder_padding)

    def _bands(self, plan: RenderPlan, pixels: Pixels) -> Latents:
        return np.concatenate(list(encode_bands(self.vae, plan, pixels)), axis=1)


def _overview(plan: RenderPlan) -> Overview:
    if plan.encode is None:
        raise ValueError("a refined picture is encoded")
    return plan.encode


WAYS = ("whole", "tiling", "native", "cores", "head", "exact")


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        _measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
        return
    sides = [int(text) for text in sys.argv[1:]] or SIDES
    header = "way     side px  latent mean    max  mean /255  max /255  seconds  peak MB"
    run_ways("tests.benchmarks.bench_encode", header, WAYS, sides)


def _measure(way: str, side: int, folder: Path) -> None:
    torch.set_num_threads(1)
    encoder, pixels = Encoder(), read_picture(side)
    before, start = peak_mb(), time.perf_counter()
    latents = getattr(encoder, way)(pixels)
    seconds, peak = time.perf_counter() - start, peak_mb() - before
    decoded = decode(encoder.vae, latents)
    if way == "whole":
        np.savez(folder / "whole.npz", latents=latents, decoded=decoded)
    truth = np.load(folder / "whole.npz")
    error = np.abs(latents - truth["latents"])
    level = 255 * np.abs(decoded - truth["decoded"])
    sys.stdout.write(
        f"{way:<7} {side:>7} {error.mean():>12.4f} {error.max():>6.3f} {level.mean():>10.2f} "
        f"{level.max():>9.1f} {seconds:>8.1f} {peak:>8.0f}\n"
    )


if __name__ == "__main__":
    main()
