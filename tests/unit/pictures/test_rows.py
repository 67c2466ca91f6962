from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.domain.errors import InvalidRequestError, LimitExceededError, NotFoundError
from app.pictures.jxl import SIGNATURE, box, read_size
from app.pictures.rows import PictureFile


def jxl(picture, **options):
    return imagecodecs.jpegxl_encode(picture, **{"lossless": True, "effort": 3} | options)


def noise(height=150, width=90):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(picture, path, **options):
    if path.suffix == ".jxl":
        path.write_bytes(jxl(picture, **options))
        return path
    Image.fromarray(picture).save(path, **options)
    return path


def whole(source):
    return np.concatenate(list(PictureFile(source, max_mpx=1).pieces()))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jxl"])
def test_rows_are_the_pictures_own(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(noise(), tmp_path / f"picture.{suffix}", **options)

    np.testing.assert_array_equal(whole(path), noise())


def test_a_jpeg_is_read_as_others_read_it(tmp_path):
    path = saved(noise(), tmp_path / "picture.jpg", quality=95)

    difference = whole(path).astype(int) - np.asarray(Image.open(path))

    assert abs(difference).max() <= 3


def test_the_pixels_of_a_jpeg_xl_outlive_the_reading_of_its_rows():
    """libvips reads them where they lie: freed too early, they are other bytes or a crash."""
    shape = (1000, 1000, 3)
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    rows, top = PictureFile(jxl(picture, effort=2), max_mpx=1).pieces(), 0

    for piece in rows:
        taken = [np.full(shape, 7, np.uint8) for _ in range(2)]
        np.testing.assert_array_equal(piece, picture[top : top + len(piece)])
        top += len(piece)

    assert (top, len(taken)) == (1000, 2)


def test_rows_arrive_in_pieces_from_top_to_bottom(tmp_path):
    path = saved(noise(), tmp_path / "picture.png")

    pieces = list(PictureFile(path, max_mpx=1).pieces())

    assert [piece.shape for piece in pieces] == [(64, 90, 3), (64, 90, 3), (22, 90, 3)]


def test_bytes_are_read_like_a_file_and_more_than_once(tmp_path):
    picture = PictureFile(saved(noise(), tmp_path / "picture.png").read_bytes(), max_mpx=1)

    first, second = (np.concatenate(list(picture.pieces())) for _ in range(2))

    assert (picture.height, picture.width) == (150, 90)
    np.testing.assert_array_equal(first, noise())
    np.testing.assert_array_equal(second, noise())


@pytest.mark.parametrize("name", ["picture[page=2].png", "größe x.png"])
def test_a_name_is_only_a_name(tmp_path, name):
    np.testing.assert_array_equal(whole(saved(noise(), tmp_path / name)), noise())


def test_grey_pictures_have_three_equal_channels(tmp_path):
    path = saved(noise()[..., 0], tmp_path / "picture.png")

    np.testing.assert_array_equal(whole(path), np.repeat(noise()[..., :1], 3, axis=2))


def test_sixteen_bits_become_eight(tmp_path):
    path = saved(noise()[..., 0].astype(np.uint16) * 257, tmp_path / "picture.png")

    np.testing.assert_allclose(whole(path)[..., 0], noise()[..., 0], atol=1)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
def test_sixteen_bits_of_a_jpeg_xl_become_eight(channels):
    picture = np.linspace(0, 65535, 24, dtype=np.uint16).reshape(4, 6)
    picture = np.broadcast_to(picture.reshape(4, 6, *[1] * len(channels)), (4, 6, *channels))

    seen = whole(jxl(np.ascontiguousarray(picture)))

    expected = (picture >> 8).reshape(4, 6, -1)
    assert np.abs(seen.astype(int) - expected).max() <= 1


def test_what_is_transparent_becomes_white(tmp_path):
    clear = np.zeros((70, 80, 4), np.uint8)

    assert (whole(saved(clear, tmp_path / "picture.png")) == 255).all()


def test_a_preview_has_the_pictures_shape_but_fewer_pixels(tmp_path):
    flat = np.full((300, 200, 3), 77, np.uint8)
    picture = PictureFile(saved(flat, tmp_path / "picture.png"), max_mpx=1)

    preview = picture.preview(100)

    assert preview.shape == (100, 67, 3)
    assert (preview == 77).all()


def test_a_small_picture_is_its_own_preview(tmp_path):
    picture = PictureFile(saved(noise(), tmp_path / "picture.png"), max_mpx=1)

    np.testing.assert_array_equal(picture.preview(200), noise())


@pytest.mark.parametrize("boxed", [False, True], ids=["codestream", "boxes"])
@pytest.mark.parametrize("size", [(8, 8), (64, 256), (300, 1), (1, 700), (90, 120), (9000, 9)])
def test_the_size_of_a_jpeg_xl_is_told_from_its_head(size, boxed):
    data = jxl(np.zeros((*size, 3), np.uint8), usecontainer=boxed)

    assert read_size(data) == size


def test_the_size_is_read_from_the_first_part_of_a_codestream_in_parts():
    stream = jxl(np.zeros((33, 47, 3), np.uint8), usecontainer=False)
    parts = box(b"jxlp", bytes(4) + stream[:20]) + box(b"jxlp", b"\x80\0\0\x01" + stream[20:])

    assert read_size(SIGNATURE + parts) == (33, 47)


@pytest.mark.parametrize("junk", [b"", b"\xff", SIGNATURE, SIGNATURE + box(b"jxlc", b"no")])
def test_the_size_of_what_has_no_codestream_is_refused(junk):
    with pytest.raises(ValueError, match=r"^no codestream$"):
        read_size(junk)


def test_a_jpeg_xl_above_the_limit_is_refused_before_a_pixel_is_decoded(monkeypatch):
    data = jxl(np.zeros((200, 90, 3), np.uint8))
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", lambda *_, **__: pytest.fail("decoded"))

    with pytest.raises(LimitExceededError) as refusal:
        PictureFile(data, max_mpx=0.01)

    assert str(refusal.value) == (
        "the stored picture must be at most 0.01 megapixels, got 90x200 px"
    )


def test_a_jpeg_xl_of_floats_is_refused():
    with pytest.raises(InvalidRequestError, match=r"\(8, 8, 3\) float32 is no picture of 8 or 16"):
        PictureFile(jxl(np.zeros((8, 8, 3), np.float32)), max_mpx=1)


@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_damaged_jpeg_xl_is_read_or_refused(cut, flip, value):
    content = bytearray(jxl(noise(20, 30), usecontainer=True))
    content[flip % len(content)] = value
    data = bytes(content[: len(content) - cut % len(content)])

    outcome = "read"
    try:
        whole(data)
    except (InvalidRequestError, LimitExceededError) as err:
        outcome = str(err)

    assert outcome.startswith(("read", "the stored picture must be "))


def test_a_missing_file_is_told():
    with pytest.raises(NotFoundError, match=r"^picture nowhere\.png is not there$"):
        PictureFile(Path("nowhere.png"), max_mpx=1)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello world", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a" + bytes(20)],
    ids=["empty", "text", "svg", "gif"],
)
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "picture.png"
    path.write_bytes(content)

    with pytest.raises(InvalidRequestError) as refusal:
        PictureFile(path, max_mpx=1)

    assert str(refusal.value) == (
        f"picture {path} must be a PNG, JPEG, WebP, JPEG XL or TIFF picture, got {content[:8]!r}"
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "jxl"])
def test_half_a_picture_is_refused(tmp_path, suffix):
    path = saved(noise(), tmp_path / f"picture.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(
        InvalidRequestError, match="must be a whole PNG, JPEG, WebP, JPEG XL or TIFF"
    ):
        whole(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(
        InvalidRequestError, match="must be a whole PNG, JPEG, WebP, JPEG XL or TIFF"
    ):
        PictureFile(tmp_path, max_mpx=1)


def test_a_picture_above_the_limit_is_refused_before_it_is_read(tmp_path):
    path = saved(noise(), tmp_path / "picture.png")

    with pytest.raises(LimitExceededError) as refusal:
        PictureFile(path, max_mpx=0.01)

    assert str(refusal.value) == f"picture {path} must be at most 0.01 megapixels, got 90x150 px"
