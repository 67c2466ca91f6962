"""Encoded crops of the planet: what the denoiser trains on instead of pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from workers.models.atlas_training.captions import write_caption
from workers.models.atlas_training.earth import Earth, random_crop
from workers.models.atlas_training.surface import DESERTS, SUBJECTS, WATERS, Survey, survey

SOURCE = 256
"""Pixels on a side of an encoded crop; training windows are cut from its latents."""
CANDIDATES = 12
"""Windows tried for one in which a subject lies on one side, or fills it."""
LOPSIDED = 0.8
COMPOSED = 0.3
"""The share of windows put together from two places.

Snow north of jungle is nowhere on the planet; without them a position is learnt only for subjects
that meet, and told from what they meet rather than from the word.
"""
BIOMES = (WATERS, DESERTS, ("snow",), ("forest",), ("steppe",))
SOFTNESS = 0.35
"""Latents over which the border of a composed window fades."""

Window = tuple[Tensor, npt.NDArray[np.float32]]
Liking = Callable[[npt.NDArray[np.float32]], float]


@dataclass(frozen=True)
class LatentSet:
    """Latents ``(N, C, 32, 32)`` fp16 and the surveys of the same crops, in 255ths."""

    latents: Tensor
    shares: npt.NDArray[np.uint8]

    def batch(self, rng: np.random.Generator, *, count: int, size: int) -> tuple[Tensor, list[str]]:
        """Random windows of *size* latents on a side, with captions of what they show.

        Subjects are drawn evenly: snow covers a hundredth of what the sea covers, and a model that
        meets it a hundred times less often does not learn its words.
        """
        windows, captions = [], []
        for _ in range(count):
            draw = self._composed if rng.random() < COMPOSED else self._window
            latents, shares = draw(rng, size)
            windows.append(latents)
            captions.append(write_caption(Survey(shares), rng))
        return torch.stack(windows), captions

    def _window(self, rng: np.random.Generator, size: int) -> Window:
        subject = int(rng.integers(len(SUBJECTS)))
        wanted = _lopsidedness if rng.random() < LOPSIDED else None
        return self._cut(subject, size, wanted, rng)

    def _composed(self, rng: np.random.Generator, size: int) -> Window:
        """Two biomes, one on either side of an irregular border near the middle."""
        biomes = rng.choice(len(BIOMES), 2, replace=False)
        subjects = [SUBJECTS.index(str(rng.choice(BIOMES[biome]))) for biome in biomes]
        (first, seen), (second, other) = (self._cut(s, size, _fullness, rng) for s in subjects)
        half = ragged_half(rng, size)
        weight = torch.from_numpy(half)
        shares = other + (seen - other) * half[..., None]
        return second + (first - second) * weight, shares

    def _cut(
        self, subject: int, size: int, wanted: Liking | None, rng: np.random.Generator
    ) -> Window:
        index = _drawn(self._totals[:, subject], rng)
        row, column = _corner(self.shares[index, ..., subject], size, wanted, rng)
        rows, columns = slice(row, row + size), slice(column, column + size)
        shares = self.shares[index, rows, columns].astype(np.float32) / np.float32(255)
        return self.latents[index, :, rows, columns].float(), shares

    @cached_property
    def _totals(self) -> npt.NDArray[np.float64]:
        """How much of each subject every crop shows, accumulated over the crops."""
        totals: npt.NDArray[np.float64] = self.shares.mean(axis=(1, 2)).cumsum(axis=0)
        return totals

    def save(self, path: Path) -> None:
        """Write to *path*."""
        torch.save({"latents": self.latents, "shares": torch.from_numpy(self.shares)}, path)


def _drawn(totals: npt.NDArray[np.float64], rng: np.random.Generator) -> int:
    """A crop, as likely as its share in *totals*, the running sum over the crops."""
    if totals[-1] <= 0:
        return int(rng.integers(len(totals)))
    return int(np.searchsorted(totals, rng.uniform(0, totals[-1]), side="right"))


def _corner(
    shares: npt.NDArray[np.uint8], size: int, wanted: Liking | None, rng: np.random.Generator
) -> tuple[int, int]:
    """Row and column of a window: any, or of several the one most *wanted*."""
    corners = rng.integers(shares.shape[0] - size + 1, size=(CANDIDATES, 2))
    if wanted is None:
        return int(corners[0, 0]), int(corners[0, 1])
    windows = [shares[r : r + size, c : c + size].astype(np.float32) for r, c in corners]
    best = corners[int(np.argmax([wanted(window) for window in windows]))]
    return int(best[0]), int(best[1])


def _fullness(window: npt.NDArray[np.float32]) -> float:
    return float(window.mean())


def _lopsidedness(window: npt.NDArray[np.float32]) -> float:
    """How much more of the subject one half of *window* holds than the other."""
    rows, columns = window.mean(axis=1), window.mean(axis=0)
    middle = len(rows) // 2
    return max(abs(float(line[:middle].mean() - line[middle:].mean())) for line in (rows, columns))


def ragged_half(rng: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    """Ones on one half of a square of *size*, zeros on the other, the border wandering."""
    along = np.arange(size) / size
    waves = [
        rng.normal() / wave * np.sin(2 * np.pi * (wave * along + rng.random()))
        for wave in (1, 2, 3, 4)
    ]
    border = size / 2 + rng.uniform(-0.1, 0.1) * size + np.sum(waves, axis=0) * size / 16
    away = (np.arange(size)[:, None] + 0.5 - border) / SOFTNESS
    half = (1 / (1 + np.exp(np.clip(away, -30, 30)))).astype(np.float32)
    oriented = np.rot90(half, int(rng.integers(4)))
    return np.ascontiguousarray(oriented)


def load_latents(path: Path) -> LatentSet:
    """What ``LatentSet.save`` wrote."""
    saved = torch.load(path, weights_only=True)
    return LatentSet(saved["latents"], saved["shares"].numpy())


@torch.no_grad()
def encode_crops(
    model: AutoencoderKL, earth: Earth, *, count: int, seed: int, tick: Callable[[], None]
) -> LatentSet:
    """Encode *count* random crops; calls *tick* after each."""
    rng = np.random.default_rng(seed)
    latents, shares = [], []
    for _ in range(count):
        crop = random_crop(earth, rng, SOURCE, water=0.1)
        pixels = torch.from_numpy(crop.pixels).permute(2, 0, 1)[None] * 2 - 1
        latents.append(model.encode(pixels).latent_dist.mean[0].half())
        seen = survey(crop.pixels, height=crop.height, lakes=crop.lakes).shares
        shares.append((seen * 255).round().astype(np.uint8))
        tick()
    return LatentSet(torch.stack(latents), np.stack(shares))


@torch.no_grad()
def standardise(model: AutoencoderKL, latents: Tensor) -> Tensor:
    """Fold each channel's mean and deviation into the autoencoder; returns the new latents.

    The 1x1 convolutions on either side of the latents take the change exactly, so the pictures
    stay the same and the scaling factor is one.
    """
    mean = latents.float().mean(dim=(0, 2, 3))
    deviation = latents.float().std(dim=(0, 2, 3))
    channels = len(mean)
    into, out = model.quant_conv, model.post_quant_conv
    into.weight[:channels] /= deviation[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= deviation[None, :, None, None]
    shape = (1, channels, 1, 1)
    return ((latents.float() - mean.view(shape)) / deviation.view(shape)).half()
