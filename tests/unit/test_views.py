"""Views beside a picture in the store, and what its record tells of them."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from app.domain.work import Stage, Work, next_of_image, picture_key, plan_prefix
from app.manifests import manifest_of
from app.merging import assemble_picture, recipe_of
from app.pictures.codecs import encode_pixels
from app.schemas import PictureRecord
from app.storage.memory import MemoryStore
from tests.support.blobs import assert_same_blobs
from tests.unit.domain.cards import plan

ORDER = {"height": 512, "width": 768, "tile": 256, "overlap": 64}


class WritingStore(MemoryStore):
    """Notes the last part of each key, in the order of the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def put(self, key: str, data: bytes) -> bool:
        self.written.append(key.split("/", maxsplit=3)[3])
        return super().put(key, data)


class DeathError(Exception):
    """The control worker's process has ended."""


class DyingStore(WritingStore):
    """Dies before the write of the given number, with all threads of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.writes_left: float = float("inf")

    def put(self, key: str, data: bytes) -> bool:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise DeathError
        return super().put(key, data)


@pytest.fixture
def store():
    return DyingStore()


def decoded(store, render) -> None:
    """What workers leave behind: the cores of every image."""
    for image in range(render.spec.count):
        for index in range(len(render.decode.cores)):
            box = render.core_pixels(index)
            pixels = np.full((box.height, box.width, 3), 40 * image + index, np.uint8)
            store.put(Work(Stage.CORE, image, index=index).key(render), encode_pixels(pixels))
    store.written.clear()


def test_a_picture_has_a_thumbnail_beside_it(store):
    render = plan(**ORDER, count=2)
    decoded(store, render)

    for image in range(2):
        assemble_picture(store, render, image)

    images = manifest_of(store, render, "job", [], cached=False).images
    assert [image.thumbnail.key for image in images] == [
        f"plans/{render.hash}/image-0000/thumbnail.jpg",
        f"plans/{render.hash}/image-0001/thumbnail.jpg",
    ]
    for image in images:
        size = image.thumbnail.width, image.thumbnail.height
        assert Image.open(io.BytesIO(store.get(image.thumbnail.key))).size == size == (512, 341)


def test_the_picture_is_written_last(store):
    render = plan(**ORDER)
    decoded(store, render)

    assemble_picture(store, render, 0)

    assert store.written == ["thumbnail.jpg", "picture.png.json", "quality.json", "picture.png"]


def test_assembling_again_changes_nothing(store):
    render = plan(**ORDER)
    decoded(store, render)
    assemble_picture(store, render, 0)
    before = {key: store.get(key) for key in store.keys("")}

    assemble_picture(store, render, 0)

    assert {key: store.get(key) for key in store.keys("")} == before


def test_a_picture_from_before_there_were_thumbnails_still_has_its_manifest(store):
    render = plan(**ORDER)
    decoded(store, render)
    assemble_picture(store, render, 0)
    key = Work(Stage.PICTURE, 0).key(render) + ".json"
    record = json.loads(store.get(key))
    del record["thumbnail"]
    store.delete(key)
    store.delete(picture_key(render, 0, "thumbnail.jpg"))
    store.put(key, json.dumps(record).encode())

    (image,) = manifest_of(store, render, "job", [], cached=False).images

    assert isinstance(image, PictureRecord)
    assert image.thumbnail is None


def pyramid_of(store, render) -> tuple[bool, set[str]]:
    """Whether the description is in the store, and which tiles are."""
    prefix = picture_key(render, 0, "picture_files/")
    tiles = {key.removeprefix(prefix) for key in store.keys(prefix)}
    return store.exists(picture_key(render, 0, "picture.dzi")), tiles


def test_a_picture_has_no_pyramid_unless_it_is_asked_for(store):
    render = plan(**ORDER)
    decoded(store, render)

    assemble_picture(store, render, 0)

    (image,) = manifest_of(store, render, "job", [], cached=False).images
    assert image.pyramid is None
    assert pyramid_of(store, render) == (False, set())


def test_a_pyramid_lies_beside_its_picture_and_its_tiles_are_counted(store):
    render = plan(**ORDER, pyramid=True)
    decoded(store, render)

    assemble_picture(store, render, 0)

    (image,) = manifest_of(store, render, "job", [], cached=False).images
    is_described, tiles = pyramid_of(store, render)
    assert image.pyramid.key == f"plans/{render.hash}/image-0000/picture.dzi"
    assert is_described
    assert image.pyramid.tiles == len(tiles)
    assert {"10/0_0.jpg", "10/3_2.jpg", "9/1_1.jpg", "0/0_0.jpg"} < tiles
    assert all(re.fullmatch(r"\d+/\d+_\d+\.jpg", name) for name in tiles)


def test_the_file_of_an_order_without_a_pyramid_says_nothing_of_one():
    assert "pyramid" not in recipe_of(plan(**ORDER), 0).request
    assert recipe_of(plan(**ORDER, pyramid=True), 0).request["pyramid"] is True


def test_a_pyramid_is_described_after_its_tiles_and_told_after_its_description(store):
    render = plan(**ORDER, pyramid=True)
    decoded(store, render)

    assemble_picture(store, render, 0)

    assert store.written[0] == "thumbnail.jpg"
    assert {name.split("/")[0] for name in store.written[1:-4]} == {"picture_files"}
    assert store.written[-4:] == ["picture.dzi", "picture.png.json", "quality.json", "picture.png"]


def test_a_crash_at_any_write_leaves_nothing_that_is_taken_for_a_whole_pyramid(store):
    render = plan(height=128, width=320, tile=256, overlap=64, pyramid=True)
    decoded(store, render)
    reference = DyingStore()
    decoded(reference, render)
    assemble_picture(reference, render, 0)
    whole = pyramid_of(reference, render)

    for turn in range(len(reference.written)):
        for key in list(store.keys(plan_prefix(render))):
            store.delete(key)
        store.writes_left = turn
        with pytest.raises(DeathError):
            assemble_picture(store, render, 0)

        assert next_of_image(render, 0, set(store.keys(plan_prefix(render))))
        is_described, tiles = pyramid_of(store, render)
        assert not is_described or tiles == whole[1]
        store.writes_left = float("inf")
        assemble_picture(store, render, 0)
        assert_same_blobs(store, reference)
