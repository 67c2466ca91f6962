"""What a picture of the planet shows, told from its colours, for captions and for tests."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

BLOCK = 8
SUBJECTS = (
    "deep",
    "shallow",
    "turquoise",
    "snow",
    "desert",
    "red",
    "forest",
    "steppe",
    "mountains",
    "lakes",
)
WATERS = ("deep", "shallow", "turquoise")
DESERTS = ("desert", "red")
# Grey levels of slope per pixel that read as mountains once shaded.
STEEP = 3.0
# Local contrast of brightness, relative to it, above which shaded land reads as mountains.
ROUGH = 0.16


@dataclass(frozen=True)
class Survey:
    """Shares of every subject per block of ``BLOCK`` pixels, ``(rows, columns, len(SUBJECTS))``."""

    shares: Array

    def share(self, subject: str) -> float:
        """The share of the whole picture that is *subject*."""
        return float(self.of(subject).mean())

    def of(self, subject: str) -> Array:
        """The shares of *subject* per block, ``(rows, columns)``."""
        return self.shares[..., SUBJECTS.index(subject)]

    @property
    def water(self) -> Array:
        """The share of sea per block, ``(rows, columns)``."""
        water: Array = np.sum([self.of(subject) for subject in WATERS], axis=0, dtype=np.float32)
        return water


def survey(pixels: Array, *, height: Array | None = None, lakes: Array | None = None) -> Survey:
    """The survey of *pixels* ``(H, W, 3)`` in ``[0, 1]``.

    With the true *height* and *lakes* of a training crop, mountains and lakes are facts; without
    them they are guessed from contrast and colour, which is all a painted picture offers.
    """
    masks = _colour_masks(pixels)
    land = ~(masks["deep"] | masks["shallow"] | masks["turquoise"])
    rough = _roughness(pixels) > ROUGH if height is None else _steepness(height) > STEEP
    masks["mountains"] = rough & land
    inland = _inland(land) if lakes is None else lakes > 0.5
    masks["lakes"] = inland
    layers = [_block_means(masks[subject].astype(np.float32)) for subject in SUBJECTS]
    return Survey(np.stack(layers, axis=-1))


def halves(layer: Array) -> dict[str, Array]:
    """The four halves of *layer* ``(rows, columns)``; a middle line belongs to both sides."""
    rows, columns = layer.shape
    return {
        "north": layer[: rows - rows // 2],
        "south": layer[rows // 2 :],
        "west": layer[:, : columns - columns // 2],
        "east": layer[:, columns // 2 :],
    }


def _colour_masks(pixels: Array) -> dict[str, npt.NDArray[np.bool_]]:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    low, high = pixels.min(axis=-1), pixels.max(axis=-1)
    turquoise = (green > 0.3) & (green > 1.35 * red) & (blue > 0.85 * green)
    water = ((blue > 1.15 * green) & (blue > 1.25 * red)) | (high < 0.06)
    snow = (low > 0.45) & (high - low < 0.2)
    rest = ~(turquoise | water | snow)
    forest = rest & (green > 0.97 * red) & (high < 0.42)
    desert = rest & ~forest & (high > 0.52)
    sandy = desert | (rest & ~forest & (red > 1.45 * green) & (high > 0.3))
    is_red = sandy & (red > 1.42 * green)
    return {
        "turquoise": turquoise,
        "deep": water & ~turquoise & (blue < 0.27),
        "shallow": water & ~turquoise & (blue >= 0.27),
        "snow": snow,
        "forest": forest,
        "desert": sandy & ~is_red,
        "red": is_red,
        "steppe": rest & ~forest & ~sandy,
    }


def _block_means(layer: Array) -> Array:
    rows, columns = layer.shape[0] // BLOCK, layer.shape[1] // BLOCK
    cut = layer[: rows * BLOCK, : columns * BLOCK]
    means: Array = cut.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3))
    return means


def _steepness(height: Array) -> Array:
    down, right = np.gradient(height)
    return _smoothed(np.hypot(down, right))


def _roughness(pixels: Array) -> Array:
    grey = pixels.mean(axis=-1)
    mean = _smoothed(grey)
    deviation = np.sqrt(np.maximum(_smoothed(grey * grey) - mean * mean, 0))
    roughness: Array = deviation / (mean + 0.08)
    return roughness


def _smoothed(layer: Array, radius: int = 4) -> Array:
    for axis in (0, 1):
        padding = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(layer, padding, "reflect")
        layer = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis).mean(axis=-1)
    return layer.astype(np.float32)


def _inland(land: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    water = ~land
    solid = _smoothed(water.astype(np.float32), 1) > 0.6
    around = _smoothed(water.astype(np.float32), 12) < 0.3
    return water & solid & around
