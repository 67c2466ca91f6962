"""Views of finished pictures: what they show, and what they are in files."""

import io
import resource
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import RenderFailedError, StorageFullError
from app.domain.geometry import Box
from app.pictures.assemble import assemble
from app.pictures.recipe import Recipe
from app.pictures.views import THUMBNAIL_PX, thumbnail, write_pyramid

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


def deep(folder, pixels, kind):
    """The same in 16 bits a channel."""
    height, width = pixels.shape[:2]
    core, target = Box(0, 0, height, width), folder / "picture"
    recipe, wide = Recipe({"prompt": "a coast"}, "hash", "0.1.0"), pixels.astype(np.uint16) * 257
    assemble(height, width, [core], lambda _: wide, target, format=kind, recipe=recipe, depth=16)
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


@pytest.mark.parametrize("kind", ["png", "tiff", "jxl"])
def test_views_of_sixteen_bits_show_what_those_of_eight_do(tmp_path, kind):
    pixels = shapes(600, 700)
    (tmp_path / "eight").mkdir()
    (tmp_path / "sixteen").mkdir()

    eight, sixteen = written(tmp_path / "eight", pixels), deep(tmp_path / "sixteen", pixels, kind)

    assert np.array_equal(opened(thumbnail(sixteen).data), opened(thumbnail(eight).data))
    for tile, other in zip(write_pyramid(sixteen)[1], write_pyramid(eight)[1], strict=True):
        assert np.array_equal(opened(tile.read_bytes()), opened(other.read_bytes()))


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


def levels(tiles) -> dict[int, dict[tuple[int, int], Image.Image]]:
    """Tiles as (column, row) by level, as a viewer asks for them."""
    found: dict[int, dict[tuple[int, int], Image.Image]] = {}
    for path in tiles:
        column, row = (int(number) for number in path.stem.split("_"))
        found.setdefault(int(path.parent.name), {})[column, row] = Image.open(path)
    return found


def pasted(tiles, height, width):
    """A level put together by the rule of the layout: tiles overlap by a pixel on each side."""
    level = np.zeros((height, width, 3), np.int16)
    for (column, row), tile in tiles.items():
        top, left = max(row * 254 - 1, 0), max(column * 254 - 1, 0)
        bottom, right = min((row + 1) * 254 + 1, height), min((column + 1) * 254 + 1, width)
        assert tile.size == (right - left, bottom - top)
        level[top:bottom, left:right] = np.asarray(tile)
    return level


@pytest.mark.parametrize("kind", FORMATS)
def test_each_level_of_a_pyramid_is_the_picture_at_half_the_size_of_the_next(tmp_path, kind):
    pixels = shapes(600, 800)

    _, tiles = write_pyramid(written(tmp_path, pixels, kind))

    found = levels(tiles)
    assert list(range(11)) == sorted(found)  # 800 px are halved ten times to become one
    assert set(found[10]) == {(column, row) for column in range(4) for row in range(3)}
    for level in range(11):
        height, width = (-(-side // 2 ** (10 - level)) for side in (600, 800))
        expected = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
        seen = pasted(found[level], height, width)
        # Of a few pixels, a level of odd size shows the last one shifted.
        assert level < 5 or np.abs(seen - np.asarray(expected, np.int16)).mean() < 3


def test_a_viewer_is_told_how_the_pyramid_is_cut(tmp_path):
    description, tiles = write_pyramid(written(tmp_path, shapes(300, 700)))

    image = ElementTree.fromstring(description.read_text())
    size = image[0]
    assert image.tag == "{http://schemas.microsoft.com/deepzoom/2008}Image"
    assert image.attrib == {"Format": "jpg", "Overlap": "1", "TileSize": "254"}
    assert size.attrib == {"Height": "300", "Width": "700"}
    assert description == tmp_path / "picture.dzi"
    assert tiles[0] == tmp_path / "picture_files" / "0" / "0_0.jpg"


def test_tiles_are_jpegs_without_surprises(tmp_path):
    _, tiles = write_pyramid(written(tmp_path, shapes(300, 300), "webp"))

    for path in tiles:
        with Image.open(path) as tile:
            assert (tile.format, tile.mode) == ("JPEG", "RGB")
            assert "exif" not in tile.info


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (64, 3000)])
def test_a_small_or_narrow_picture_has_a_pyramid_too(tmp_path, height, width):
    _, tiles = write_pyramid(written(tmp_path, shapes(height, width)))

    found = levels(tiles)
    assert found[0][0, 0].size == (1, 1)
    assert pasted(found[max(found)], height, width).shape == (height, width, 3)


def test_a_full_disk_is_named(tmp_path):
    picture = written(tmp_path, np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8))
    # The limit on the size of one file fails a write as a full disk does.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))

    try:
        with pytest.raises(StorageFullError, match=r"^the picture's pyramid cannot be written: "):
            write_pyramid(picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_picture_that_breaks_off_has_no_pyramid(tmp_path):
    picture = written(tmp_path, shapes(600, 800))
    picture.write_bytes(picture.read_bytes()[:2000])

    with pytest.raises(RenderFailedError, match=r"^libvips failed on the picture's pyramid: "):
        write_pyramid(picture)
