import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from app.domain.errors import InvalidRequestError, LimitExceededError
from app.pictures import reading
from app.pictures.reading import read_mask, read_picture

ORIENTATION = 0x0112
HALVES = np.zeros((4, 6, 3), np.uint8)
HALVES[:2] = 255


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def read(blob, max_mpx=1.0):
    return read_picture(blob, field="init_image", max_mpx=max_mpx)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_lossless_pictures_come_back_bit_by_bit(pixels):
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        np.testing.assert_array_equal(read(encoded(pixels, kind, **options)), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@given(cut=st.integers(1, 5000), flip=st.integers(0, 5000), value=st.integers(0, 255))
def test_damage_gives_a_picture_or_one_clear_refusal(kind, cut, flip, value):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    blob = bytearray(encoded(pixels, kind))
    blob[flip % len(blob)] = value
    blob = bytes(blob[: len(blob) - cut % (len(blob) // 8)])

    outcome = "a picture"
    try:
        read(blob)
    except InvalidRequestError as err:
        outcome = str(err)

    assert outcome.startswith(("a picture", "init_image must be "))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_half_a_picture_is_refused(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blob = encoded(pixels, kind)

    with pytest.raises(
        InvalidRequestError,
        match=f"^init_image must be a whole PNG, JPEG, WebP or TIFF picture, got {len(blob) // 2} B"
        " that break off or are damaged: ",
    ):
        read(blob[: len(blob) // 2])


@pytest.mark.parametrize(
    ("blob", "got"),
    [
        (b"", "0 B that start with b''"),
        (b"<svg></svg>", "11 B that start with b'<svg></s'"),
        (b"%!PS-Adobe-3.0 EPSF", "19 B that start with b'%!PS-Ado'"),
        (b"GIF89a......", "12 B that start with b'GIF89a..'"),
    ],
    ids=["nothing", "svg", "postscript", "gif"],
)
def test_what_is_no_picture_is_refused(blob, got):
    with pytest.raises(InvalidRequestError) as refusal:
        read(blob)

    assert str(refusal.value) == f"init_image must be a PNG, JPEG, WebP or TIFF picture, got {got}"


def test_the_orientation_of_a_camera_is_applied():
    exif = Image.Exif()
    exif[ORIENTATION] = 6

    upright = read(encoded(HALVES, exif=exif))

    assert upright.shape == (6, 4, 3)
    np.testing.assert_array_equal(upright[:, 2:], 255)
    np.testing.assert_array_equal(upright[:, :2], 0)


def test_what_is_transparent_becomes_white_in_a_picture():
    blob = encoded(Image.new("RGBA", (3, 2), (200, 0, 0, 0)))

    np.testing.assert_array_equal(read(blob), np.full((2, 3, 3), 255, np.uint8))


def test_what_is_half_transparent_is_mixed_with_white():
    blob = encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))

    np.testing.assert_array_equal(read(blob), [[[127, 127, 127]]])


def test_a_transparent_palette_colour_becomes_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)

    blob = encoded(picture, transparency=1)

    np.testing.assert_array_equal(read(blob), [[[10, 20, 30], [255, 255, 255]]])


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    blob = encoded(np.array([[0, 257 * 100, 65535]], np.uint16))

    np.testing.assert_array_equal(read(blob)[0, :, 0], [0, 100, 255])


def test_a_mask_is_one_plane_upright_and_transparent_means_keep():
    picture = Image.new("LA", (4, 2), (255, 255))
    picture.putpixel((0, 0), (255, 0))

    mask = read_mask(encoded(picture), field="mask", max_mpx=1.0)

    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 255, 255, 255], [255, 255, 255, 255]])


def test_a_picture_over_the_limit_is_refused_with_both_numbers():
    blob = encoded(Image.new("RGB", (400, 300)))

    with pytest.raises(LimitExceededError) as refusal:
        read(blob, max_mpx=0.1)

    assert str(refusal.value) == "init_image must be at most 0.1 megapixels, got 400x300 = 0.1"


@pytest.mark.parametrize("side", [17_000, 100_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch, side):
    monkeypatch.setattr(
        reading.PngImageFile, "load", lambda self: pytest.fail("pixels were decoded")
    )
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    blob = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    blob += struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 4) + b"IDAT1234"

    with pytest.raises(LimitExceededError, match=f"^init_image must be at most 200 megapixels, "
                       f"got {side}x{side} = "):  # fmt: skip
        read(blob, max_mpx=200)
