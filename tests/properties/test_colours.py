"""Cores of which a decoder has given each another tone, as they are anchored and pasted."""

from dataclasses import replace

import numpy as np
import pytest

from app.domain.work import Stage, Work
from app.measuring import PictureQuality
from app.parts import colours_key
from app.pictures.codecs import decode_pixels, encode_array
from tests.support.engine import ToyModel, toy_context
from tests.unit.domain.cards import SD15, plan
from workers.stages import core
from workers.stages.picture import enlarged_window

SIDE = 528
MAX_DRIFT = 1e-3
ROUNDED = 0.51 / 255


def base():
    """Long waves, far from black and from white."""
    rows, columns = np.mgrid[0:512, 0:512] / 30.0
    waves = [np.sin(rows), np.cos(columns), np.sin(0.6 * (rows + columns))]
    return (0.1 * np.stack(waves, axis=2) + 0.5).astype(np.float32)


def detail():
    """A checkerboard ``(SIDE, SIDE, 1)``: no low frequencies at all."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return 0.1 * (-1.0) ** (rows + columns)[..., None]


def toned(context, render, work, box, check):
    """Pixels of *box* as if they were decoded: base, detail, and a tone of the core's own."""
    tones = 0.1 * np.array([[1, -1, 1], [-1, 1, 1], [1, 1, -1], [-1, -1, -1]])
    part = detail()[box.scaled(render.latent_scale).window]
    return enlarged_window(render, base(), box) + part + tones[work.index]


def rendered(context, render):
    """The picture ``(SIDE, SIDE, 3)`` uint8 that the plan's four cores make."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    for index in range(4):
        blob = core.render_core(context, render, Work(Stage.CORE, 0, index=index), lambda: None)
        picture[render.core_pixels(index).window] = decode_pixels(blob)
    return picture


def drift(context, render, picture):
    quality = PictureQuality(context.store, render, 0)
    quality.add(picture)
    return quality.measure().figures["low_frequency_drift"]


@pytest.fixture
def context(monkeypatch):
    """A worker that has stored the base and its colours, and decodes as ``toned`` does."""
    monkeypatch.setattr(core, "_decoded", toned)
    context, render = toy_context(ToyModel(SD15)), plan(height=SIDE, width=SIDE)
    context.store.put(Work(Stage.BASE, 0).key(render), encode_array(base()))
    context.put(colours_key(render, 0), base())
    return context


def test_a_tone_of_every_core_is_removed_and_their_detail_kept(context):
    render = plan(height=SIDE, width=SIDE)

    picture = rendered(context, render)

    assert len(render.decode.cores) == 4
    assert drift(context, render, picture) < MAX_DRIFT
    inside = np.s_[40:-40, 40:-40]  # the border repeats a row of the checkerboard
    expected = (enlarged_window(render, base(), render.canvas) + detail())[inside]
    np.testing.assert_allclose(picture[inside] / 255, expected, rtol=0, atol=ROUNDED)


def test_cores_that_are_not_anchored_drift(context):
    anchored = plan(height=SIDE, width=SIDE)
    render = replace(anchored, decode=replace(anchored.decode, anchors_colours=False))

    picture = rendered(context, render)

    assert drift(context, anchored, picture) > 50 * MAX_DRIFT
