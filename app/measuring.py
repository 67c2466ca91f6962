"""Quality of a job's pictures: measured when they are written, or again from the store."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.errors import CorruptBlobError, NotFoundError, PermanentError
from app.domain.plan import RenderPlan
from app.domain.quality import CELL, Colours, Profiler, Quality, SeamGrid, measure, worst
from app.domain.quality.planned import seams_of, tiles_of
from app.domain.work import Stage, Work, canvas_key, picture_key
from app.pictures.codecs import Pixels, decode_array, upper_bits
from app.pictures.reading import fitted, read_picture
from app.pictures.rows import PictureFile
from app.storage.port import BlobStore

# A user's larger picture is not compared with: reading one takes up to 11 bytes a pixel, and
# assembling promises to stay below 600 MB.
_MAX_START_MPX = 25.0


def quality_key(plan: RenderPlan, image: int) -> str:
    """Where the figures of one image are kept."""
    return picture_key(plan, image, "quality.json")


class PictureQuality:
    """The quality of one image of a plan, from the rows of its picture."""

    def __init__(self, store: BlobStore, plan: RenderPlan, image: int) -> None:
        self._store, self._plan, self._image = store, plan, image
        self._profiler = Profiler(plan.spec.height, plan.spec.width)

    def add(self, rows: Pixels) -> None:
        """Take the next *rows* ``(h, W, 3)`` of the picture; its upper 8 bits are measured."""
        self._profiler.add(upper_bits(rows))

    def measure(self, grid: SeamGrid | None = None) -> Quality:
        """Figures and seams, after the last row; seams at other lines when a *grid* is given."""
        plan, profiles = self._plan, self._profiler.result()
        start = starting_cells(self._store, plan, self._image)
        return measure(
            profiles,
            grid or seams_of(plan),
            tiles=tiles_of(plan),
            start=start,
            upscale=plan.spec.upscale,
        )


def measure_stored(
    store: BlobStore, plan: RenderPlan, image: int, grid: SeamGrid | None = None
) -> Quality:
    """The quality of an image whose picture is in the store; lossy formats count as they are."""
    picture = stored_picture(store, plan, image)
    quality = PictureQuality(store, plan, image)
    for rows in picture.pieces():
        quality.add(rows)
    return quality.measure(grid)


def stored_picture(store: BlobStore, plan: RenderPlan, image: int) -> PictureFile:
    """The finished picture. Raises ``NotFoundError`` when there is none."""
    data = store.get(Work(Stage.PICTURE, image).key(plan))
    return PictureFile(data, max_mpx=plan.spec.height * plan.spec.width / 1e6)


def starting_cells(store: BlobStore, plan: RenderPlan, image: int) -> Colours | None:
    """The picture that tiles started from, enlarged to ``(H // 8, W // 8, 3)``.

    ``None`` where tiles started from noise alone, or the picture is no longer there or too large.
    """
    picture = _starting_picture(store, plan, image)
    if picture is None:
        return None
    scale = plan.latent_scale * plan.spec.upscale
    height, width = (side // CELL for side in (plan.spec.height, plan.spec.width))
    # The canvas may exceed the picture, and the picture its last whole cell, by a few pixels.
    rows = picture.shape[0] * height * CELL / (plan.canvas_height * scale)
    columns = picture.shape[1] * width * CELL / (plan.canvas_width * scale)
    enlarged = Image.fromarray(picture).resize(
        (width, height), Image.Resampling.LANCZOS, box=(0, 0, columns, rows)
    )
    return np.asarray(enlarged, np.float16) / np.float16(255.0)


def _starting_picture(store: BlobStore, plan: RenderPlan, image: int) -> NDArray[np.uint8] | None:
    """``(h, w, 3)`` at its own size."""
    if not plan.starts_from_picture:
        return None
    key = plan.spec.init_image or Work(Stage.BASE, image).key(plan)
    try:
        data = store.get(key)
        if plan.spec.init_image is not None:
            picture = read_picture(data, field="init_image", max_mpx=_MAX_START_MPX)
            return fitted(plan, picture)
        return np.round(np.clip(decode_array(data), 0.0, 1.0) * 255.0).astype(np.uint8)
    except PermanentError:  # a finished picture does not fail for want of a figure
        return None


def image_figures(store: BlobStore, plan: RenderPlan, image: int) -> dict[str, float]:
    """The quality of one image, as it was measured: its picture's once there is one.

    Tiles may disagree in earlier phases: to settle that is what they exchange for.
    """
    own = _figures(store, quality_key(plan, image))
    if "overlap_disagreement" in own:
        return own
    return worst([own, canvas_figures(store, plan, image)])


def canvas_figures(store: BlobStore, plan: RenderPlan, image: int) -> dict[str, float]:
    """What was measured when the tiles of the last phase were merged."""
    return _figures(store, canvas_key(plan, image, len(plan.phases)))


def _figures(store: BlobStore, key: str) -> dict[str, float]:
    """What was measured; nothing where that is no longer whole in the store, or never was."""
    try:
        return dict(json.loads(store.get(key)))
    except (CorruptBlobError, NotFoundError):
        return {}
