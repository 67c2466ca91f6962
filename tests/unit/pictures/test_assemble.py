import hashlib
import resource

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.domain.errors import (
    CorruptBlobError,
    InvalidPlanError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    RenderFailedError,
    StorageFullError,
)
from app.domain.geometry import Box
from app.pictures.assemble import assemble
from app.pictures.bands import stored_png
from app.pictures.embedding import read_recipe
from app.pictures.recipe import Recipe

RECIPE = Recipe({"prompt": "a coast", "width": 96, "height": 64}, "hash", "0.1.0")
MAGIC = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpeg": b"\xff\xd8\xff",
    "webp": b"RIFF",
    "jxl": b"\0\0\0\x0cJXL \r\n\x87\n",
    "tiff": b"II*\0",
}
CANVAS = Box(0, 0, 150, 90)
QUARTERS = [Box(0, 0, 40, 50), Box(0, 50, 40, 96), Box(40, 0, 64, 50), Box(40, 50, 64, 96)]


def noise(height=64, width=96):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def merge(pixels, cores, target, **options):
    """Assemble a picture that is already there."""
    height, width = pixels.shape[:2]
    options = {"format": "png", "recipe": RECIPE} | options
    load = options.pop("load", lambda index: pixels[cores[index].window])
    return assemble(height, width, cores, load, target, **options)


@st.composite
def partitions(draw, box=CANVAS, depth=4):
    cuts_rows = draw(st.booleans())
    low, high = (box.top, box.bottom) if cuts_rows else (box.left, box.right)
    if depth == 0 or high - low < 2 or draw(st.integers(0, 4)) == 0:
        return [box]
    cut = draw(st.integers(low + 1, high - 1))
    if cuts_rows:
        halves = Box(box.top, box.left, cut, box.right), Box(cut, box.left, box.bottom, box.right)
    else:
        halves = Box(box.top, box.left, box.bottom, cut), Box(box.top, cut, box.bottom, box.right)
    return [core for half in halves for core in draw(partitions(half, depth - 1))]


@given(cores=partitions(), random=st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_any_partition_in_any_order_gives_the_picture_back(tmp_path_factory, cores, random):
    random.shuffle(cores)
    target = tmp_path_factory.mktemp("picture") / "picture.png"

    merge(noise(150, 90), cores, target)

    np.testing.assert_array_equal(np.asarray(Image.open(target)), noise(150, 90))


@given(cores=partitions(), choice=st.data())
@settings(max_examples=40)
def test_a_partition_with_a_core_removed_or_repeated_is_refused(tmp_path_factory, cores, choice):
    index = choice.draw(st.integers(0, len(cores) - 1))
    folder = tmp_path_factory.mktemp("picture")

    for broken in (cores[:index] + cores[index + 1 :], [*cores, cores[index]]):
        with pytest.raises(InvalidPlanError, match="cores must cover"):
            merge(noise(150, 90), broken, folder / "picture.png")

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["png", "jxl", "tiff"])
def test_lossless_formats_keep_every_pixel(tmp_path, kind):
    merge(noise(), QUARTERS, tmp_path / "picture", format=kind)

    np.testing.assert_array_equal(imagecodecs.imread(tmp_path / "picture"), noise())


@given(cores=partitions(), seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_any_partition_of_any_noise_survives_jpeg_xl(tmp_path_factory, cores, seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256 >> random.integers(0, 7), (150, 90, 3), dtype=np.uint8)
    target = tmp_path_factory.mktemp("picture") / "picture.jxl"

    merge(pixels, cores, target, format="jxl")

    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(target.read_bytes()), pixels)


def deep_noise():
    return np.random.default_rng(0).integers(0, 65536, (64, 96, 3), dtype=np.uint16)


@pytest.mark.parametrize("kind", ["png", "jxl", "tiff"])
def test_sixteen_bits_a_channel_are_all_kept(tmp_path, kind):
    target = tmp_path / "picture"

    picture = merge(deep_noise(), QUARTERS, target, format=kind, depth=16)

    written = imagecodecs.imread(target)
    assert written.dtype == np.uint16
    np.testing.assert_array_equal(written, deep_noise())
    assert read_recipe(target) == RECIPE
    assert picture.size_bytes > deep_noise().nbytes


def test_a_core_of_another_depth_is_refused(tmp_path):
    with pytest.raises(CorruptBlobError) as refusal:
        merge(noise(), QUARTERS, tmp_path / "picture.png", depth=16)

    assert str(refusal.value) == "core 0 must be (40, 50, 3) uint16, got (40, 50, 3) uint8"


def test_a_depth_the_format_lacks_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"^depth 16 needs format png, jxl or tiff, got"):
        merge(noise(), QUARTERS, tmp_path / "picture", format="webp", depth=16, load=pytest.fail)


def test_an_encoder_that_fails_is_named(tmp_path, monkeypatch):
    def encode(*_, **__):
        raise imagecodecs.JpegxlError("JxlEncoderProcessOutput", 1)

    monkeypatch.setattr(imagecodecs, "jpegxl_encode", encode)

    with pytest.raises(RenderFailedError, match=r"^libjxl failed on the picture: JxlEnc"):
        merge(noise(), QUARTERS, tmp_path / "picture", format="jxl")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_lossy_formats_get_closer_with_quality(tmp_path, kind):
    rows, columns = np.mgrid[0:64, 0:96]
    grey = 127 + 120 * np.sin(rows / 3) * np.cos(columns / 4)
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    errors = []

    for quality in (20, 98):
        merge(picture, QUARTERS, tmp_path / "picture", format=kind, quality=quality)
        written = np.asarray(Image.open(tmp_path / "picture"), np.int16)
        errors.append(np.abs(written - picture).mean())

    assert errors[1] < errors[0] / 2
    assert errors[1] < 2


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "jxl", "tiff"])
def test_the_answer_describes_the_file(tmp_path, kind):
    target = tmp_path / "picture"

    picture = merge(noise(), QUARTERS, target, format=kind)

    content = target.read_bytes()
    assert (picture.height, picture.width, picture.format) == (64, 96, kind)
    assert picture.size_bytes == len(content)
    assert picture.sha256 == hashlib.sha256(content).hexdigest()
    assert content.startswith(MAGIC[kind])
    assert read_recipe(target) == RECIPE


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    first = merge(noise(), QUARTERS, tmp_path / "one.png")

    assert merge(noise(), QUARTERS, tmp_path / "two.png") == first


def test_each_core_is_loaded_once_and_progress_counts_them(tmp_path):
    loaded, heard = [], []

    def load(index):
        loaded.append(index)
        return noise()[QUARTERS[index].window]

    def progress(done, total):
        heard.append((done, total))

    merge(noise(), QUARTERS, tmp_path / "picture.png", load=load, progress=progress)

    assert loaded == [0, 1, 2, 3]
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_observer_sees_the_whole_picture_pass(tmp_path):
    pieces = []

    merge(noise(), QUARTERS, tmp_path / "seen.png", observe=lambda rows: pieces.append(rows.copy()))
    merge(noise(), QUARTERS, tmp_path / "unseen.png")

    np.testing.assert_array_equal(np.concatenate(pieces), noise())
    assert (tmp_path / "seen.png").read_bytes() == (tmp_path / "unseen.png").read_bytes()


def test_an_observer_that_fails_leaves_no_picture(tmp_path):
    def observe(rows):
        raise CorruptBlobError("these rows look odd")

    with pytest.raises(CorruptBlobError, match=r"^these rows look odd$"):
        merge(noise(), QUARTERS, tmp_path / "picture.png", observe=observe)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (np.zeros((40, 49, 3), np.uint8), "(40, 49, 3) uint8"),
        (np.zeros((40, 50), np.uint8), "(40, 50) uint8"),
        (np.zeros((1, 1, 3), np.uint8), "(1, 1, 3) uint8"),
        (np.zeros((40, 50, 3), np.float32), "(40, 50, 3) float32"),
    ],
    ids=["one column short", "grey", "broadcastable", "float"],
)
def test_a_core_of_the_wrong_shape_is_refused(tmp_path, wrong, got):
    with pytest.raises(CorruptBlobError) as refusal:
        merge(noise(), QUARTERS, tmp_path / "picture.png", load=lambda index: wrong)

    assert str(refusal.value) == f"core 0 must be (40, 50, 3) uint8, got {got}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        (QUARTERS[:3], "cores must cover the canvas of 96x64 px, got none at row 40, column 50"),
        ([], "cores must cover the canvas of 96x64 px, got none at row 0, column 0"),
        (
            [Box(0, 0, 64, 97)],
            "a core must lie inside the canvas of 96x64 px, "
            "got Box(top=0, left=0, bottom=64, right=97)",
        ),
        (
            [*QUARTERS, Box(5, 5, 5, 9)],
            "a core must lie inside the canvas of 96x64 px, "
            "got Box(top=5, left=5, bottom=5, right=9)",
        ),
    ],
    ids=["hole", "no cores", "outside", "empty core"],
)
def test_cores_that_do_not_partition_the_canvas_are_named(tmp_path, cores, message):
    with pytest.raises(InvalidPlanError) as refusal:
        merge(noise(), cores, tmp_path / "picture.png")

    assert str(refusal.value) == message


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "jxl", "tiff"])
def test_a_core_that_cannot_be_loaded_leaves_nothing_behind(tmp_path, kind):
    target = tmp_path / "picture"
    target.write_bytes(b"an earlier picture")

    def load(index):
        if index == 3:
            raise NotFoundError("blob 3 is not there")
        return noise()[QUARTERS[index].window]

    with pytest.raises(NotFoundError, match=r"^blob 3 is not there$"):
        merge(noise(), QUARTERS, target, format=kind, load=load)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an earlier picture"]


def test_a_failure_after_the_last_pixel_counts_too(tmp_path, monkeypatch):
    def breaking(*canvas, **options):
        *pieces, _, _ = stored_png(*canvas, **options)
        yield from pieces
        raise NotFoundError("the stream broke")

    monkeypatch.setattr("app.pictures.assemble.stored_png", breaking)

    with pytest.raises(NotFoundError, match=r"^the stream broke$"):
        merge(noise(), [Box(0, 0, 64, 96)], tmp_path / "picture.png")

    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    target = tmp_path / "gone" / "picture.png"

    with pytest.raises(StorageFullError, match=f"^picture {target} cannot be written: "):
        merge(noise(), QUARTERS, target)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "jxl", "tiff"])
def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, kind):
    target = tmp_path / "picture"
    pixels = noise(600, 800)
    # The limit on the size of one file fails a write as a full disk does.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with pytest.raises(StorageFullError, match=f"^picture {target} cannot be written: "):
            merge(pixels, [Box(0, 0, 600, 800)], target, format=kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "height", "width", "message"),
    [
        ("webp", 4, 16384, "format webp holds at most 16383 px per side, got 16384x4 px"),
        ("jpeg", 65536, 4, "format jpeg holds at most 65535 px per side, got 4x65536 px"),
    ],
    ids=["webp", "jpeg"],
)
def test_sides_a_format_cannot_hold_are_refused_before_anything_is_loaded(
    tmp_path, kind, height, width, message
):
    with pytest.raises(LimitExceededError) as refusal:
        assemble(
            height,
            width,
            [Box(0, 0, height, width)],
            lambda index: pytest.fail("a core was loaded"),
            tmp_path / "picture",
            format=kind,
            recipe=RECIPE,
        )

    assert str(refusal.value) == message
