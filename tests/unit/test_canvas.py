from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.canvas import BAND_LATENTS, band_boxes, band_key, read_window, write_band
from app.domain.geometry import Box
from app.pictures.codecs import decode_array
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan

RENDER = plan(height=3000, width=1000)
STORE = MemoryStore()
CANVAS = (
    np.random.default_rng(0)
    .random((4, RENDER.canvas_height, RENDER.canvas_width))
    .astype(np.float32)
)
for number, band in enumerate(band_boxes(RENDER)):
    write_band(STORE, RENDER, 0, 1, number, CANVAS[:, band.top : band.bottom])


def read(key):
    return decode_array(STORE.get(key))


def test_bands_partition_the_canvas_and_are_no_higher_than_allowed():
    boxes = band_boxes(RENDER)

    assert [boxes[0].top, boxes[-1].bottom] == [0, RENDER.canvas_height]
    assert all(above.bottom == below.top for above, below in pairwise(boxes))
    assert max(box.height for box in boxes) <= BAND_LATENTS
    assert len(boxes) == 3


@given(st.data())
def test_a_window_is_the_crop_of_the_whole_canvas(data):
    top = data.draw(st.integers(0, RENDER.canvas_height - 1))
    bottom = data.draw(st.integers(top + 1, RENDER.canvas_height))
    left = data.draw(st.integers(0, RENDER.canvas_width - 1))
    box = Box(top, left, bottom, RENDER.canvas_width)

    window = read_window(RENDER, 0, 1, box, read)

    np.testing.assert_array_equal(window, CANVAS[(slice(None), *box.window)])


def test_a_window_reads_only_the_bands_it_touches():
    asked = []

    def spy(key):
        asked.append(key)
        return read(key)

    read_window(RENDER, 0, 1, Box(0, 0, 10, 10), spy)

    assert asked == [band_key(RENDER, 0, 1, 0)]
