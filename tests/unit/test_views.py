"""Views beside a picture in the store, and what its record tells of them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from app.domain.work import Stage, Work, picture_key
from app.manifests import manifest_of
from app.merging import assemble_picture
from app.pictures.codecs import encode_pixels
from app.schemas import PictureRecord
from app.storage.memory import MemoryStore
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


@pytest.fixture
def store():
    return WritingStore()


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
