"""Pictures made of noise, and what is measured on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.domain.quality import Profiler, Profiles, SeamAxis, SeamGrid, seam_axis

Floats = NDArray[np.float64]


def one_over_f(
    height: int, width: int, *, seed: int, deviation: float = 30 / 255, power: float = 1.0
) -> Floats:
    """Texture ``(H, W)`` around 0.5 with the spectrum of photographs; it wraps on both axes."""
    white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    texture = np.fft.irfft2(white / frequency**power, (height, width))
    return np.asarray(0.5 + deviation * texture / texture.std())


def white_noise(height: int, width: int, *, seed: int, deviation: float = 30 / 255) -> Floats:
    """Texture ``(H, W)`` around 0.5 whose pixels are independent."""
    return 0.5 + deviation * np.random.default_rng(seed).standard_normal((height, width))


def checks(height: int, width: int, tile: int, amount: float) -> Floats:
    """*amount* on every other tile of a grid, 0 on the rest, ``(H, W)``."""
    rows, columns = np.arange(height) // tile, np.arange(width) // tile
    return np.asarray(amount * ((rows[:, None] + columns) % 2))


def pixels(luma: Floats) -> NDArray[np.uint8]:
    """A grey picture ``(H, W, 3)``."""
    grey = np.clip(np.round(luma * 255), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def profiles(picture: NDArray[np.uint8], rows: int = 64) -> Profiles:
    """Those of *picture* ``(H, W, 3)``, as it arrives in pieces of *rows*."""
    profiler = Profiler(*picture.shape[:2])
    for top in range(0, len(picture), rows):
        profiler.add(picture[top : top + rows])
    return profiler.result()


def joints(height: int, width: int, tile: int) -> SeamGrid:
    """Tiles that touch but do not overlap."""
    rows, columns = (
        seam_axis(side, [(start, start + tile) for start in range(0, side, tile)])
        for side in (height, width)
    )
    return SeamGrid(rows, columns)


def lines(height: int, width: int, columns: tuple[int, ...], *, wraps: bool = False) -> SeamGrid:
    """Vertical lines only."""
    return SeamGrid(SeamAxis(height), SeamAxis(width, joints=columns, wraps=wraps))
