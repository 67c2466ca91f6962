import json
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.domain.errors import CorruptBlobError, NotFoundError
from app.domain.geometry import Box
from app.pictures.assemble import assemble
from app.pictures.embedding import read_recipe
from app.pictures.jxl import box, read_boxes
from app.pictures.recipe import Recipe
from app.pictures.rows import PictureFile

FORMATS = ["png", "jpeg", "webp", "jxl", "tiff"]
COAST = Recipe(
    {
        "prompt": "a coast, 海岸\nat noon 😀",
        "negative_prompt": "fog",
        "width": 2048,
        "height": 1536,
        "steps": 20,
        "sampler": "ddim",
        "guidance": 6.0,
        "seed": 1,
        "model": "atlas",
    },
    "d0c5",
    "0.1.0",
)
COAST_TEXT = (
    "a coast, 海岸\nat noon 😀\n"
    "Negative prompt: fog\n"
    "Steps: 20, Sampler: ddim, CFG scale: 6.0, Seed: 1, Size: 2048x1536, Model: atlas, "
    "Plan: d0c5, Version: tilechord 0.1.0"
)

texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
recipes = st.builds(
    Recipe,
    st.fixed_dictionaries({"prompt": texts}, optional={"negative_prompt": texts, "tags": values}),
    st.text("0123456789abcdef", min_size=1),
    texts,
)


def picture_with(recipe, target, kind):
    pixels = np.full((8, 12, 3), 90, np.uint8)
    assemble(8, 12, [Box(0, 0, 8, 12)], lambda index: pixels, target, format=kind, recipe=recipe)
    return target


def written(target):
    return np.concatenate(list(PictureFile(target, max_mpx=1).pieces()))


@given(recipe=recipes)
def test_a_recipe_survives_json(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("kind", FORMATS)
@given(recipe=recipes)
@settings(max_examples=40)
def test_a_recipe_survives_its_picture(tmp_path_factory, kind, recipe):
    target = tmp_path_factory.mktemp("picture") / "picture"

    assert read_recipe(picture_with(recipe, target, kind)) == recipe


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [21_000, 200_000])
def test_a_recipe_longer_than_one_segment_survives(tmp_path, kind, size):
    recipe = Recipe({"prompt": "海" * size, "negative_prompt": "\n"}, "d0c5", "0.1.0")
    target = picture_with(recipe, tmp_path / "picture", kind)

    assert read_recipe(target) == recipe
    np.testing.assert_allclose(written(target).astype(np.int16), 90, atol=2)


def test_half_a_surrogate_pair_survives_in_the_json(tmp_path):
    recipe = Recipe({"prompt": "\ud83d broken"}, "d0c5", "0.1.0")

    assert read_recipe(picture_with(recipe, tmp_path / "picture", "png")) == recipe


def test_equal_requests_give_equal_json_whatever_the_key_order():
    one = Recipe({"prompt": "p", "seed": 1}, "h", "v")
    other = Recipe({"seed": 1, "prompt": "p"}, "h", "v")

    assert one.to_json() == other.to_json()


def test_the_parameters_text_reads_as_other_programs_write_it():
    assert COAST.parameters_text() == COAST_TEXT


def test_a_setting_with_a_comma_is_quoted():
    recipe = Recipe({"prompt": "p", "model": "a, Steps: 99"}, "h", "v")

    assert 'Model: "a, Steps: 99", ' in recipe.parameters_text()


def test_png_carries_the_text_where_other_programs_look(tmp_path):
    with Image.open(picture_with(COAST, tmp_path / "picture", "png")) as picture:
        assert picture.info["parameters"] == COAST_TEXT
        assert json.loads(picture.info["tilechord"])["plan_hash"] == "d0c5"


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_exif_carries_the_text_where_other_programs_look(tmp_path, kind):
    with Image.open(picture_with(COAST, tmp_path / "picture", kind)) as picture:
        comment = picture.getexif().get_ifd(0x8769)[0x9286]

    assert comment == b"UNICODE\0" + COAST_TEXT.encode("utf-16-be")


def test_jpeg_xl_carries_the_text_in_an_exif_box(tmp_path):
    with picture_with(COAST, tmp_path / "picture", "jxl").open("rb") as file:
        bodies = {kind: file.read(length) for kind, length in read_boxes(file)}
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + bodies[b"Exif"][4:])

    assert list(bodies) == [b"JXL ", b"ftyp", b"Exif", b"uuid", b"jxlc"]
    assert bodies[b"Exif"][:4] == bytes(4)
    assert exif.get_ifd(0x8769)[0x9286] == b"UNICODE\0" + COAST_TEXT.encode("utf-16-be")


def test_a_box_of_others_is_not_taken_for_the_recipe(tmp_path):
    target = picture_with(COAST, tmp_path / "picture", "jxl")
    content = target.read_bytes()
    foreign = box(b"uuid", bytes(16) + b"{}") + box(b"uuid", b"short") + box(b"xml ", b"<x/>")
    target.write_bytes(content[:32] + foreign + content[32:])

    assert read_recipe(target) == COAST


def test_tiff_carries_the_json_as_its_description(tmp_path):
    with tifffile.TiffFile(picture_with(COAST, tmp_path / "picture", "tiff")) as tiff:
        assert tiff.pages[0].description == COAST.to_json()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_from_elsewhere_has_no_recipe(tmp_path, kind):
    target = tmp_path / "picture"
    if kind == "jxl":
        target.write_bytes(imagecodecs.jpegxl_encode(np.zeros((4, 4, 3), np.uint8)))
    else:
        Image.new("RGB", (4, 4)).save(target, format=kind)

    with pytest.raises(NotFoundError) as refusal:
        read_recipe(target)

    assert str(refusal.value) == f"picture {target} carries no tilechord recipe"


def test_a_file_that_is_no_picture_has_no_recipe(tmp_path):
    target = tmp_path / "notes.txt"
    target.write_text("dear diary")

    with pytest.raises(NotFoundError, match=r"carries no tilechord recipe$"):
        read_recipe(target)


def test_a_missing_file_is_named(tmp_path):
    target = tmp_path / "gone.png"

    with pytest.raises(NotFoundError) as refusal:
        read_recipe(target)

    assert str(refusal.value) == f"picture {target} is not there"


@pytest.mark.parametrize("kind", FORMATS)
@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_damaged_file_gives_its_recipe_or_one_of_our_errors(
    tmp_path_factory, kind, cut, flip, value
):
    target = picture_with(COAST, tmp_path_factory.mktemp("picture") / "picture", kind)
    content = bytearray(target.read_bytes())
    content[flip % len(content)] = value
    target.write_bytes(content[: len(content) - cut % len(content)])

    outcome = "a recipe"
    try:
        read_recipe(target)
    except (NotFoundError, CorruptBlobError) as err:
        outcome = str(err)

    assert outcome.startswith(("a recipe", f"picture {target} "))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "null", '{"request":{}}', '{"request":1,"plan_hash":"a","version":"b"}'],
)
def test_other_json_is_not_a_recipe(text):
    with pytest.raises(CorruptBlobError, match=r"^a recipe must "):
        Recipe.from_json(text)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_recipe_of_a_big_tiff_is_read(tmp_path, order):
    target = tmp_path / "picture.tiff"
    pixels = np.zeros((4, 4, 3), np.uint8)
    tifffile.imwrite(
        target, pixels, bigtiff=True, byteorder=order, description=COAST.to_json(), metadata=None
    )

    assert read_recipe(target) == COAST


def test_a_length_no_recipe_has_is_refused_before_it_is_read(tmp_path):
    target = tmp_path / "picture.png"
    target.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**31 - 1, b"tEXt"))

    with pytest.raises(CorruptBlobError) as refusal:
        read_recipe(target)

    assert str(refusal.value) == (
        f"picture {target} must be readable, got a recipe of 2147483647 B, more than 16777216 B"
    )


def test_the_recipe_of_a_huge_picture_is_read_without_opening_its_pixels(tmp_path):
    target = picture_with(COAST, tmp_path / "picture.png", "png")
    content = bytearray(target.read_bytes())
    header = b"IHDR" + struct.pack(">II", 100_000, 100_000) + content[24:29]
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    target.write_bytes(content)

    assert read_recipe(target) == COAST
