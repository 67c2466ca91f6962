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
from workers.models.atlas_training.surface import SUBJECTS, Survey, survey

SOURCE = 256
"""Pixels on a side of an encoded crop; training windows are cut from its latents."""
CANDIDATES = 6
"""Windows tried for one in which a subject lies on one side."""


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
            subject = int(rng.integers(len(SUBJECTS)))
            index = _drawn(self._totals[:, subject], rng)
            row, column = _corner(self.shares[index, ..., subject], size, rng)
            windows.append(self.latents[index, :, row : row + size, column : column + size])
            shares = Survey(self.shares[index].astype(np.float32) / 255)
            captions.append(write_caption(shares.window(row, column, size), rng))
        return torch.stack(windows).float(), captions

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


def _corner(shares: npt.NDArray[np.uint8], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of a window; half the time of one where the subject lies on one side."""
    corners = rng.integers(shares.shape[0] - size + 1, size=(CANDIDATES, 2))
    if rng.random() < 0.5:
        return int(corners[0, 0]), int(corners[0, 1])
    windows = [shares[r : r + size, c : c + size].astype(np.float32) for r, c in corners]
    best = corners[int(np.argmax([_lopsidedness(window) for window in windows]))]
    return int(best[0]), int(best[1])


def _lopsidedness(window: npt.NDArray[np.float32]) -> float:
    """How much more of the subject one half of *window* holds than the other."""
    rows, columns = window.mean(axis=1), window.mean(axis=0)
    middle = len(rows) // 2
    return max(abs(float(line[:middle].mean() - line[middle:].mean())) for line in (rows, columns))


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
