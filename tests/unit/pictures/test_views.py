"""Views of finished pictures: what they show, and what they are in files."""

import io

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import RenderFailedError
from app.domain.geometry import Box
from app.pictures.assemble import assemble
from app.pictures.recipe import Recipe
from app.pictures.views import THUMBNAIL_PX, thumbnail

FORMATS = ["png", "jpeg", "webp", "tiff", "jxl"]


def shapes(height, width):
    """Large soft shapes, ``(H, W, 3)`` uint8: a smaller view can be held against them."""
    rows = np.sin(np.arange(height) * 4 / height)[:, None, None]
    columns = np.cos(np.arange(width) * 5 / width)[None, :, None]
    return (127 + 100 * rows * columns * np.array([1.0, 0.6, -0.8])).astype(np.uint8)


def written(folder, pixels, kind="png"):
    """A picture as it lies on the disk when its views are made."""
    height, width = pixels.shape[:2]
    core, target = Box(0, 0, height, width), folder / "picture"
    recipe = Recipe({"prompt": "a coast"}, "hash", "0.1.0")
    assemble(height, width, [core], lambda _: pixels, target, format=kind, recipe=recipe)
    return target


def opened(data) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_thumbnail_shows_the_whole_picture(tmp_path, kind):
    pixels = shapes(900, 1500)

    small = thumbnail(written(tmp_path, pixels, kind))

    assert (small.height, small.width) == (307, THUMBNAIL_PX)
    seen = np.asarray(opened(small.data), np.int16)
    expected = np.asarray(Image.fromarray(pixels).resize((512, 307), Image.Resampling.BOX))
    assert np.abs(seen - expected).mean() < 2


def test_a_thumbnail_is_a_jpeg_without_surprises(tmp_path):
    small = opened(thumbnail(written(tmp_path, shapes(600, 800), "webp")).data)

    assert (small.format, small.mode) == ("JPEG", "RGB")
    assert set(small.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (64, 96, (64, 96)),
        (512, 512, (512, 512)),
        (513, 64, (512, 64)),
        (2, 4096, (1, 512)),
        (1024, 512, (512, 256)),
    ],
)
def test_no_side_is_longer_than_a_thumbnail_and_none_is_enlarged(tmp_path, height, width, size):
    small = thumbnail(written(tmp_path, shapes(height, width)))

    assert (small.height, small.width) == size
    assert opened(small.data).size == size[::-1]


def test_the_same_picture_has_the_same_thumbnail(tmp_path):
    picture = written(tmp_path, shapes(700, 900))

    assert thumbnail(picture) == thumbnail(picture)


def test_a_picture_that_breaks_off_has_no_thumbnail(tmp_path):
    picture = written(tmp_path, shapes(600, 800))
    picture.write_bytes(picture.read_bytes()[:2000])

    with pytest.raises(RenderFailedError, match=r"^libvips failed on the picture's thumbnail: "):
        thumbnail(picture)
