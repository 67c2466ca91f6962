"""Bytes and processor time of every codec in use, beside Pillow's PNG in the same run.

Run as ``python -m tests.benchmarks.bench_codecs [PICTURE]``.
"""

import io
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import imagecodecs
import numpy as np
from PIL import Image

from app.domain.geometry import Box
from app.pictures.assemble import assemble
from app.pictures.codecs import decode_array, decode_pixels, encode_array, encode_pixels
from app.pictures.recipe import Recipe

DEMO = Path(__file__).parents[2] / "docs" / "images" / "demo.png"
FORMATS = ("png", "jpeg", "webp", "jxl", "tiff")
LATENT, CHANNELS = 8, (4, 16)
REPEATS = 7


def rows(pixels):
    """Name, bytes, CPU seconds to encode and to decode, of each codec."""
    with tempfile.TemporaryDirectory() as folder:
        yield "Pillow PNG (baseline)", *timed(lambda: pillow_png(pixels), pillow_pixels)
        yield "blob of pixels: JPEG XL", *timed(lambda: encode_pixels(pixels), decode_pixels)
        for channels in CHANNELS:
            latents = synthetic_latents(pixels, channels)
            figures = timed(lambda array=latents: encode_array(array), decode_array)
            yield f"blob of latents: npy, {channels} channels", *figures
        for kind in FORMATS:
            target = Path(folder) / "picture"
            figures = timed(
                lambda kind=kind, target=target: result(pixels, kind, target), imagecodecs.imread
            )
            yield f"result: {kind}", *figures


def pillow_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pillow_pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def result(pixels, kind, target):
    """A finished file at our settings: pasted, written with its recipe, hashed."""
    height, width = pixels.shape[:2]
    recipe = Recipe({"prompt": "a coast"}, "hash", "0")
    cores = [Box(0, 0, height, width)]
    assemble(height, width, cores, lambda _: pixels, target, format=kind, recipe=recipe)
    return target.read_bytes()


def synthetic_latents(pixels, channels):
    """Stored as they are: what is in them decides nothing."""
    shape = (channels, pixels.shape[0] // LATENT, pixels.shape[1] // LATENT)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def timed(encode, decode):
    """Bytes, and medians of CPU seconds of this process, all of its threads."""
    encoded, decoded = [], []
    for _ in range(REPEATS):
        begun = time.process_time()
        data = encode()
        middle = time.process_time()
        decode(data)
        encoded.append(middle - begun)
        decoded.append(time.process_time() - middle)
    return len(data), median(encoded), median(decoded)


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO
    pixels = np.asarray(Image.open(path).convert("RGB"))
    mpx = pixels.shape[0] * pixels.shape[1] / 1e6
    print(f"{path.name}, {mpx:.2f} megapixels, medians of {REPEATS}")  # noqa: T201
    print(f"{'':36}{'bytes/px':>9}{'of PNG':>8}{'encode':>8}{'decode':>8}  ms/MP")  # noqa: T201
    baseline = 0
    for name, size, *seconds in rows(pixels):
        baseline = baseline or size
        encode, decode = (1e3 * part / mpx for part in seconds)
        figures = f"{size / mpx / 1e6:9.3f}{size / baseline:8.2f}{encode:8.1f}{decode:8.1f}"
        print(f"{name:36}{figures}")  # noqa: T201


if __name__ == "__main__":
    main()
