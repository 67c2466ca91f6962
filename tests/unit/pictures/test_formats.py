import pytest

from app.domain.errors import InvalidRequestError, LimitExceededError
from app.pictures.formats import check_format


@pytest.mark.parametrize(
    ("kind", "height", "width"),
    [
        ("png", 200_000, 1000),
        ("tiff", 200_000, 1000),
        ("jpeg", 65535, 65535),
        ("webp", 4, 16383),
        ("webp", 5000, 10_000),
        ("jxl", 100, 300_000),
    ],
)
def test_what_a_format_holds_is_accepted(kind, height, width):
    check_format(kind, height, width, quality=90)


@pytest.mark.parametrize(
    ("kind", "height", "width", "message"),
    [
        ("jpeg", 8, 65536, "format jpeg holds at most 65535 px per side, got 65536x8 px"),
        ("webp", 16384, 8, "format webp holds at most 16383 px per side, got 8x16384 px"),
        ("webp", 10_000, 5020, "format webp holds at most 50 megapixels, got 50.2"),
        ("jxl", 5000, 6020, "format jxl holds at most 30 megapixels, got 30.1"),
        ("webp", 16_000, 16_000, "format webp holds at most 50 megapixels, got 256.0"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_number(kind, height, width, message):
    with pytest.raises(LimitExceededError) as refusal:
        check_format(kind, height, width)

    assert str(refusal.value) == message


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_sixteen_bits_are_refused_where_a_format_has_eight(kind):
    with pytest.raises(InvalidRequestError) as refusal:
        check_format(kind, 8, 8, depth=16)

    assert str(refusal.value) == f"depth 16 needs format png, jxl or tiff, got {kind}"


@pytest.mark.parametrize("kind", ["png", "tiff", "jxl"])
def test_formats_with_sixteen_bits_are_accepted(kind):
    check_format(kind, 3000, 5000, depth=16)


def test_a_deep_jpeg_xl_may_be_half_as_large():
    with pytest.raises(LimitExceededError) as refusal:
        check_format("jxl", 3000, 5100, depth=16)

    assert str(refusal.value) == ("format jxl holds at most 15 megapixels of 16 bits, got 15.3")


@pytest.mark.parametrize("quality", [-1, 0, 101])
def test_a_quality_outside_its_range_is_refused(quality):
    with pytest.raises(InvalidRequestError) as refusal:
        check_format("jpeg", 8, 8, quality=quality)

    assert str(refusal.value) == f"quality must be in [1, 100], got {quality}"
