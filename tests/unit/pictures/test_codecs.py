import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.domain.errors import CorruptBlobError, InvalidPlanError
from app.pictures.codecs import decode_array, decode_pixels, encode_array, encode_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_pixels_come_back_bit_by_bit(pixels):
    decoded = decode_pixels(encode_pixels(pixels))

    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


def test_pictures_of_noise_come_back_bit_by_bit():
    """libjxl's fastest effort lost pixels of several of these."""
    random = np.random.default_rng(1)
    for _ in range(1500):
        shape = (*random.integers(1, 81, 2), 3)
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        if random.random() < 0.5:
            pixels //= 64

        np.testing.assert_array_equal(decode_pixels(encode_pixels(pixels)), pixels)


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)))
def test_arrays_come_back_bit_by_bit(array):
    decoded = decode_array(encode_array(array))

    assert decoded.dtype == np.float32
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.tobytes()


@given(cut=st.integers(0, 10_000))
def test_a_blob_that_breaks_off_is_corrupt(cut):
    pixels, array = encode_pixels(PIXELS), encode_array(PIXELS.astype(np.float32))

    with pytest.raises(CorruptBlobError, match=r"^a pixel blob must be JPEG XL, got "):
        decode_pixels(pixels[: cut % len(pixels)])
    with pytest.raises(CorruptBlobError, match=r"^an array blob must be npy, got "):
        decode_array(array[: cut % len(array)])


@given(junk=st.binary(max_size=200))
def test_junk_is_corrupt(junk):
    with pytest.raises(CorruptBlobError):
        decode_pixels(junk)
    with pytest.raises(CorruptBlobError):
        decode_array(junk)


def test_a_slice_of_a_larger_picture_is_encoded_as_it_looks():
    view = PIXELS[3:20, 2:9]

    np.testing.assert_array_equal(decode_pixels(encode_pixels(view)), view)


def test_pickled_objects_are_never_loaded():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(CorruptBlobError, match=r"^an array blob must be npy, got "):
        decode_array(buffer.getvalue())


@pytest.mark.parametrize(
    "blob",
    [encode_array(np.zeros(3, np.float32)) + b"more", b""],
    ids=["bytes behind the array", "nothing"],
)
def test_an_array_blob_is_one_array_and_nothing_else(blob):
    with pytest.raises(CorruptBlobError):
        decode_array(blob)


def test_an_array_of_another_type_is_corrupt():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3, np.float16))

    with pytest.raises(CorruptBlobError) as refusal:
        decode_array(buffer.getvalue())

    assert str(refusal.value) == "an array blob must be one float32 or float64 array, got 134 B"


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "grey", "empty"],
)
def test_only_colour_bytes_are_encoded_as_pixels(pixels):
    with pytest.raises(InvalidPlanError, match=r"^pixels must be \(H, W, 3\) uint8 and not empty"):
        encode_pixels(pixels)


def test_only_single_and_double_precision_are_encoded_as_an_array():
    with pytest.raises(InvalidPlanError) as refusal:
        encode_array(np.zeros(3, np.float16))

    assert str(refusal.value) == "an array blob must be float32 or float64, got float16"


@pytest.mark.parametrize("kind", [np.float32, np.float64], ids=["single", "double"])
def test_an_array_keeps_its_precision(kind):
    array = np.array([1 / 3, -0.0], kind)

    decoded = decode_array(encode_array(array))

    assert decoded.dtype == kind
    np.testing.assert_array_equal(decoded, array)
