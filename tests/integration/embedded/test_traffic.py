"""What a plan says that its units move, against what passes through the store."""

from __future__ import annotations

import io
import threading
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from app import bootstrap, client, embedded
from app.bootstrap import runtime
from app.pictures.codecs import decode_array, decode_pixels
from app.planning import plan_request
from app.schemas import read_request
from app.storage.port import BlobStore
from app.tasks import render
from app.traffic import total, traffic
from tests.integration.embedded.conftest import WAIT_S

PIXELS = ("core-", "ground-", "opacity-")
# Records of a few bytes or kilobytes, which plans leave out; all else must be told.
RECORDS = ("prepared", "head", "statistics", "thumbnail.jpg")


class CountingStore:
    """A store that adds up what its blobs hold before compression, as they come and go."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self._counting = threading.Lock()  # merges read in several threads

    def __getattr__(self, name):
        return getattr(self._store, name)

    def get(self, key):
        data = self._store.get(key)
        self._add(self.read, key, content_bytes(key, data))
        return data

    def put(self, key, data):
        is_first = self._store.put(key, data)
        self._add(self.written, key, is_first * content_bytes(key, data))
        return is_first

    def put_file(self, key, path):
        is_first = self._store.put_file(key, path)
        self._add(self.written, key, is_first * content_bytes(key, Path(path).read_bytes()))
        return is_first

    def _add(self, counter, key, count):
        with self._counting:
            counter[key] += count


def content_bytes(key, data):
    name = key.split("/")[-1]
    if "/image-" not in key or name in RECORDS or name.endswith(".json") or key.startswith("runs/"):
        return 0
    if name.startswith(PIXELS):
        return decode_pixels(data).nbytes
    if name.startswith("picture."):
        return imagecodecs.png_decode(data).nbytes
    if name.startswith("prompt-"):
        return sum(array.nbytes for array in safetensors.numpy.load(data).values())
    return decode_array(data).nbytes


@pytest.fixture
def counting(monkeypatch):
    made = []

    def open_counting(chosen):
        made.append(CountingStore(open_store(chosen)))
        return made[-1]

    open_store = bootstrap.open_store
    monkeypatch.setattr(bootstrap, "open_store", open_counting)
    runtime()
    return made[0]


def picture(height, width):
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def mask(height, width):
    file = io.BytesIO()
    area = np.zeros((height, width), np.uint8)
    area[10:60, 20:70] = 255
    Image.fromarray(area).save(file, "PNG")
    return file.getvalue()


def upload(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return client.upload(tmp_path / name)


REQUESTS = {
    "a base and its tiles": {"height": 200, "width": 136},
    "tiles held to the base": {"height": 136, "width": 200, "nsr": 3.0},
    "one window": {"mode": "direct", "height": 64, "width": 64},
    "a head for several cores": {"mode": "phased", "height": 264, "width": 300, "tile": 256},
    "cores without a head": {"mode": "phased", "height": 520, "width": 520, "tile": 256},
    "a merge for every step": {"mode": "multidiffusion", "height": 136, "width": 136},
    "moving windows": {"mode": "spot", "height": 136, "width": 136},
    "two bands": {"height": 560, "width": 64},
    "two pictures, enlarged": {"height": 256, "width": 192, "upscale": 2, "count": 2},
    "sixteen bits": {"height": 136, "width": 136, "depth": 16},
    "a texture": {"height": 128, "width": 544, "wrap": "xy"},
    "regions": {
        "height": 136,
        "width": 136,
        "regions": [{"prompt": "a lake", "box": {"top": 0, "left": 0, "bottom": 64, "right": 136}}],
    },
}


def rendered(request):
    """What one worker that renders *request* is said to read and write."""
    app = runtime()
    with embedded.worker():
        render.delay(request).get(timeout=WAIT_S, interval=0.01)
    plan = plan_request(read_request(request), app.catalogue, app.settings, app.store.get)
    moved = total(traffic(plan, app.catalogue.card(plan.spec.refine_model)).values())
    return moved.read + moved.shared, moved.written


def passed(counting):
    return counting.read.total(), counting.written.total()


@pytest.mark.parametrize("fields", REQUESTS.values(), ids=REQUESTS)
def test_a_render_moves_what_its_plan_says(counting, fields):
    said = rendered({"prompt": "a hill", "steps": 3} | fields)

    assert said == passed(counting)


def test_a_given_picture_is_left_out_and_all_else_told(counting, tmp_path):
    start = upload(tmp_path, "start.png", picture(100, 80))
    counting.written.clear()

    said = rendered(
        {"prompt": "a hill", "steps": 4, "height": 160, "width": 128, "init_image": start}
    )

    assert said == passed(counting)


@pytest.mark.parametrize("depth", [8, 16])
def test_an_edit_moves_what_it_holds_too(counting, tmp_path, depth):
    start = upload(tmp_path, "start.png", picture(136, 136))
    free = upload(tmp_path, "mask.png", mask(136, 136))
    size = {"height": 136, "width": 136, "init_image": start, "mask": free}

    said = rendered({"prompt": "a hill", "steps": 3, "depth": depth} | size)

    assert said == passed(counting)
