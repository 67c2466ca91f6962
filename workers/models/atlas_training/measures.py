"""Measurements of the bundled model; each returns plain figures, and pictures where they help."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
)

from workers.models.atlas_training.earth import Earth, cut, land_fraction, random_place
from workers.models.atlas_training.prompts import NEGATIVES, Prompt, is_found, share
from workers.models.atlas_training.surface import survey

Array = npt.NDArray[np.float32]
SAMPLERS = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "dpm++2m": DPMSolverMultistepScheduler,
}


@dataclass(frozen=True)
class Settings:
    """How pictures are painted for a measurement."""

    steps: int
    guidance: float
    sampler: str


@dataclass(frozen=True)
class Painter:
    """The model with its settings; the noise of picture *i* is that of seed *i*."""

    pipeline: StableDiffusionPipeline
    settings: Settings

    def paint(
        self, prompts: list[str], seeds: list[int], *, negative: str = "", size: int = 128
    ) -> Array:
        """One picture per prompt and seed, ``(N, size, size, 3)`` float32 in ``[0, 1]``."""
        pictures = []
        for start in range(0, len(prompts), 16):
            part = slice(start, start + 16)
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[part]]
            done = self.pipeline(
                prompts[part],
                negative_prompt=[negative] * len(prompts[part]),
                height=size,
                width=size,
                num_inference_steps=self.settings.steps,
                guidance_scale=self.settings.guidance,
                generator=generators,
                output_type="np",
            )
            pictures.append(done.images)
        return np.concatenate(pictures).astype(np.float32)


def load_painter(folder: str, settings: Settings) -> Painter:
    """The model in *folder*, ready to paint on the CPU."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    scheduler = SAMPLERS[settings.sampler]
    pipeline.scheduler = scheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing"
    )
    pipeline.set_progress_bar_config(disable=True)
    return Painter(pipeline, settings)


def gradient_energy(pixels: Array) -> float:
    """The mean squared finite difference of *pixels* ``(H, W, 3)``."""
    return float(sum(np.square(np.diff(pixels, axis=axis)).mean() for axis in (0, 1)))


def held_out_crops(earth: Earth, *, count: int, size: int, land: float) -> list[Array]:
    """Crops never trained on, with at least *land* of them land."""
    rng = np.random.default_rng(7)
    crops: list[Array] = []
    while len(crops) < count:
        pixels = cut(earth, random_place(rng, size, held_out=True)).pixels
        if land_fraction(pixels) >= land:
            crops.append(pixels)
    return crops


@torch.no_grad()
def rebuild(model: AutoencoderKL, pixels: Array) -> Array:
    """*pixels* ``(H, W, 3)`` encoded and decoded again."""
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None] * 2 - 1
    rebuilt = model.decode(model.encode(batch).latent_dist.mean).sample.clamp(-1, 1)
    picture: Array = rebuilt[0].permute(1, 2, 0).numpy() / 2 + 0.5
    return picture


def reconstruction(model: AutoencoderKL, crops: list[Array]) -> dict[str, float]:
    """Mean PSNR in dB, and the share of the crops' gradient energy that is kept."""
    pairs = [(crop, rebuild(model, crop)) for crop in crops]
    errors = np.array([np.square(one - other).mean() for one, other in pairs])
    kept = sum(gradient_energy(other) for _, other in pairs)
    return {
        "psnr_db": float(np.mean(-10 * np.log10(errors))),
        "psnr_pooled_db": float(-10 * np.log10(errors.mean())),
        "energy": kept / sum(gradient_energy(one) for one, _ in pairs),
    }


def prompt_score(
    painter: Painter, prompts: tuple[Prompt, ...], *, seeds: tuple[int, ...]
) -> tuple[float, list[str], Array]:
    """The share of pictures that show everything asked for, the prompts that failed, and all.

    The pictures are ``(prompts, seeds, 128, 128, 3)``.
    """
    texts = [prompt.text for prompt in prompts for _ in seeds]
    pictures = painter.paint(texts, [seed for _ in prompts for seed in seeds])
    asked = [prompt for prompt in prompts for _ in seeds]
    met = [
        all(is_found(seen, ask) for ask in prompt.asks)
        for prompt, seen in zip(asked, map(survey, pictures), strict=True)
    ]
    failed = [text for text, is_met in zip(texts, met, strict=True) if not is_met]
    shaped = pictures.reshape(len(prompts), len(seeds), *pictures.shape[1:])
    return float(np.mean(met)), failed, shaped


def chance_score(painter: Painter, prompts: tuple[Prompt, ...], *, seeds: tuple[int, ...]) -> float:
    """What ``prompt_score`` gives pictures of the empty prompt: its zero."""
    surveys = [survey(picture) for picture in painter.paint([""] * len(seeds), list(seeds))]
    return float(
        np.mean([all(is_found(s, ask) for ask in p.asks) for p in prompts for s in surveys])
    )


def negative_effect(painter: Painter, *, count: int = 16) -> list[dict[str, str | float]]:
    """The mean share of a subject without and with it in the negative prompt."""
    rows: list[dict[str, str | float]] = []
    for text, negative, kind in NEGATIVES:
        without, removed = (
            float(np.mean([share(survey(p), kind) for p in painter.paint(
                [text] * count, list(range(count)), negative=words
            )]))
            for words in ("", negative)
        )  # fmt: skip
        rows.append({"prompt": text, "negative": negative, "before": without, "after": removed})
    return rows


def pairwise_correlation(pictures: Array) -> float:
    """The mean pixel correlation over all pairs of *pictures*."""
    flat = pictures.reshape(len(pictures), -1)
    matrix = np.atleast_2d(np.corrcoef(flat))
    return float(matrix[np.triu_indices(len(pictures), 1)].mean())


def features(pictures: Array) -> Array:
    """Colour layout of *pictures* ``(N, 128, 128, 3)`` at 16x16, normalised, ``(N, 768)``."""
    count, size = pictures.shape[:2]
    cell = size // 16
    small = pictures.reshape(count, 16, cell, 16, cell, 3).mean(axis=(2, 4)).reshape(count, -1)
    small = small - small.mean(axis=1, keepdims=True)
    unit: Array = small / (np.linalg.norm(small, axis=1, keepdims=True) + 1e-6)
    return unit


def nearest(pictures: Array, known: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """The highest correlation of each picture with the *known* features, and with which."""
    scores = features(pictures) @ known.T
    return scores.max(axis=1), scores.argmax(axis=1)


def painting_seconds(painter: Painter, *, size: int, repeats: int = 3) -> float:
    """The fastest of *repeats* paintings of one picture."""
    painter.paint(["coast"], [0], size=size)
    times = []
    for seed in range(repeats):
        start = time.perf_counter()
        painter.paint(["coast"], [seed], size=size)
        times.append(time.perf_counter() - start)
    return min(times)
