"""A small photo at eight times its size: how faithful, how much texture, which seams.

Run: ``python -m tests.benchmarks.bench_photo PHOTO.jpg [LEFT TOP]``, where PHOTO is a picture of
4096x2048 px such as NASA's Blue Marble. 256x192 px of it become 2048x1536: four times by tiles of
the bundled model, twice by super-resolution. *Texture* is the gradient energy over that of
Lanczos's filter alone, *kept* how near the result, averaged down again, comes to the photo. A part
of it beside Lanczos's goes to ``docs/images/enlarged.jpg``.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from app import client
from app.bootstrap import runtime
from app.cli.rendering import finish_here, use_this_process
from tests.benchmarks.bench_modes import say

PICTURE = Path("docs/images/enlarged.jpg")
PROMPT = "desert coast and blue sea"
SMALL, TIMES = (256, 192), 8
PLACE = (2420, 836)
STRENGTHS = (0.15, None, 0.5)
SHOWN = (900, 500, 1500, 1100)
"""Left, top, right and bottom of the part that is shown."""


def main() -> None:
    if len(sys.argv) < 2:
        say("needs a photo: python -m tests.benchmarks.bench_photo PHOTO.jpg")
        return
    left, top = map(int, sys.argv[2:4]) if len(sys.argv) > 3 else PLACE
    width, height = SMALL
    photo = Image.open(sys.argv[1]).convert("RGB").crop((left, top, left + width, top + height))
    lanczos = photo.resize((width * TIMES, height * TIMES), Image.Resampling.LANCZOS)
    use_this_process()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TILECHORD_STORE_URL"] = Path(folder).as_uri()
        path = Path(folder) / "photo.png"
        photo.save(path)
        key = client.upload(path)
        drawn = [_enlarged(key, strength) for strength in track(STRENGTHS, "strengths")]
    say("| strength | seam z | disagreement | drift | texture | kept |")
    say("|---|---|---|---|---|---|")
    for strength, (picture, found) in zip(STRENGTHS, drawn, strict=True):
        say(
            f"| {strength or 'the model’s own'} | {found['seam_z']:.2f} "
            f"| {found['overlap_disagreement']:.1%} | {255 * found['low_frequency_drift']:.1f}/255 "
            f"| {_texture(picture) / _texture(lanczos):.1f} × | {_kept_db(picture, photo):.1f} dB |"
        )
    _side_by_side(lanczos, drawn[1][0]).save(PICTURE, quality=88)


def _enlarged(key: str, strength: float | None) -> tuple[Image.Image, dict[str, float]]:
    """The photo under *key* enlarged, and the figures of its quality."""
    width, height = (TIMES * side for side in SMALL)
    request = {"prompt": PROMPT, "init_image": key, "upscale": 2}
    size = {"width": width, "height": height}
    chosen = request | size | ({} if strength is None else {"strength": strength})
    manifest = finish_here(lambda: client.submit(chosen), is_quiet=True)
    data = runtime().store.get(manifest.images[0].key)
    return Image.open(io.BytesIO(data)).convert("RGB"), dict(manifest.quality)


def _texture(picture: Image.Image) -> float:
    """Mean squared difference of neighbouring pixels' brightness."""
    grey = np.asarray(picture.convert("L"), np.float64)
    return float((np.diff(grey, axis=0) ** 2).mean() + (np.diff(grey, axis=1) ** 2).mean())


def _kept_db(picture: Image.Image, photo: Image.Image) -> float:
    """Peak signal-to-noise ratio of *picture*, averaged down to the photo's size."""
    small = np.asarray(picture.resize(photo.size, Image.Resampling.BOX), np.float64)
    error = float(((small - np.asarray(photo, np.float64)) ** 2).mean())
    return 10.0 * float(np.log10(255.0**2 / error))


def _side_by_side(*pictures: Image.Image) -> Image.Image:
    parts = [picture.crop(SHOWN) for picture in pictures]
    sheet = Image.new("RGB", (sum(part.width for part in parts), parts[0].height))
    for number, part in enumerate(parts):
        sheet.paste(part, (number * part.width, 0))
    return sheet


if __name__ == "__main__":
    main()
