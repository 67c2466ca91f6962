from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import InvalidRequestError, LimitExceededError, NotFoundError
from app.pictures.rows import PictureFile


def noise(height=150, width=90):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(picture, path, **options):
    Image.fromarray(picture).save(path, **options)
    return path


def whole(source):
    return np.concatenate(list(PictureFile(source, max_mpx=1).pieces()))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_rows_are_the_pictures_own(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(noise(), tmp_path / f"picture.{suffix}", **options)

    np.testing.assert_array_equal(whole(path), noise())


def test_a_jpeg_is_read_as_others_read_it(tmp_path):
    path = saved(noise(), tmp_path / "picture.jpg", quality=95)

    difference = whole(path).astype(int) - np.asarray(Image.open(path))

    assert abs(difference).max() <= 3


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
        f"picture {path} must be a PNG, JPEG, WebP or TIFF picture, got {content[:8]!r}"
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_half_a_picture_is_refused(tmp_path, suffix):
    path = saved(noise(), tmp_path / f"picture.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(InvalidRequestError, match="must be a whole PNG, JPEG, WebP or TIFF"):
        whole(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="must be a whole PNG, JPEG, WebP or TIFF"):
        PictureFile(tmp_path, max_mpx=1)


def test_a_picture_above_the_limit_is_refused_before_it_is_read(tmp_path):
    path = saved(noise(), tmp_path / "picture.png")

    with pytest.raises(LimitExceededError) as refusal:
        PictureFile(path, max_mpx=0.01)

    assert str(refusal.value) == f"picture {path} must be at most 0.01 megapixels, got 90x150 px"
