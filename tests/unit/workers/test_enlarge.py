import numpy as np
import pytest

from app.canvas import band_boxes
from app.domain.geometry import Box
from tests.unit.domain.cards import SD15, plan
from workers.enlarge import Enlarger, native_picture


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).random((96, 128, 3), np.float32)


def test_a_window_equals_the_crop_of_the_whole_enlargement(picture):
    render = plan(height=768, width=1024)
    enlarger = Enlarger(render, picture)
    whole = enlarger.window(Box(0, 0, 768, 1024))

    window = enlarger.window(Box(200, 312, 456, 800))

    np.testing.assert_allclose(window, whole[200:456, 312:800], atol=1e-6)


def test_latents_are_assembled_without_gaps(picture):
    render = plan(height=1100, width=1400)

    def mean(pixels):
        blocks = pixels.reshape(pixels.shape[0] // 8, 8, -1, 8, 3)
        return np.repeat(blocks.mean((1, 3, 4))[None], 4, axis=0)

    bands = [Enlarger(render, picture).in_cores(band, 64, mean) for band in band_boxes(render)]

    whole = Enlarger(render, picture).window(render.canvas.scaled(8))
    assert len(bands) > 1
    np.testing.assert_allclose(np.concatenate(bands, axis=1), mean(whole), atol=1e-5)


def test_the_native_picture_has_native_area_and_the_same_aspect(picture):
    native = native_picture(picture, SD15)

    assert native.shape == (440, 592, 3)
    assert abs(native.mean() - picture.mean()) < 0.01
