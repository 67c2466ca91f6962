import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.domain.errors import CorruptBlobError, InvalidPlanError
from app.pictures.codecs import (
    decode_array,
    decode_pixels,
    encode_array,
    encode_pixels,
    round_pixels,
    upper_bits,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_pixels_come_back_bit_by_bit(pixels):
    decoded = decode_pixels(encode_pixels(pixels))

    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@given(arrays.arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_deep_pixels_come_back_bit_by_bit(pixels):
    decoded = decode_pixels(encode_pixels(pixels))

    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_pictures_of_noise_come_back_bit_by_bit(depth):
    """libjxl's fastest effort lost pixels of several of these, where they had 8 bits."""
    random, levels = np.random.default_rng(1), np.iinfo(depth).max + 1
    for _ in range(1500):
        shape = (*random.integers(1, 81, 2), 3)
        pixels = random.integers(0, levels, shape, dtype=depth)
        if random.random() < 0.5:
            pixels //= levels // 4

        np.testing.assert_array_equal(decode_pixels(encode_pixels(pixels)), pixels)


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0)))
def test_arrays_come_back_bit_by_bit(array):
    decoded = decode_array(encode_array(array))

    assert decoded.dtype == np.float32
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(8, [0, 128, 255, 1]), (16, [0, 32768, 65535, 257])],
    ids=["8 bits", "16 bits"],
)
def test_fractions_become_the_nearest_whole_numbers(depth, expected):
    rounded = round_pixels(np.array([0, 0.500001, 1, 1 / 255], np.float32), depth)

    assert (rounded.tolist(), rounded.dtype.itemsize) == (expected, depth // 8)


def test_every_depth_has_the_same_upper_bits():
    levels = np.arange(65536, dtype=np.uint16)

    np.testing.assert_array_equal(upper_bits(levels), np.round(levels / 257))
    np.testing.assert_array_equal(upper_bits(np.arange(256, dtype=np.uint8)), np.arange(256))


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
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint32),
    ],
    ids=["float", "grey", "empty", "too deep"],
)
def test_only_colour_bytes_are_encoded_as_pixels(pixels):
    with pytest.raises(
        InvalidPlanError, match=r"^pixels must be \(H, W, 3\) uint8 or uint16 and not"
    ):
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


@pytest.fixture
def hasty_threads():
    """Threads that change places far more often than usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_arrays_are_decoded_in_several_threads_at_once():
    blob = encode_array(np.arange(6, dtype=np.float32).reshape(1, 2, 3))

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: decode_array(blob), range(4000)))

    assert all(array.shape == (1, 2, 3) for array in found)
