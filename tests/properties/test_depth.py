"""Renders with 16 bits a channel: the same picture, told more finely."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from app.domain.work import Stage, Work, ground_key, next_work, pixels_key, plan_key
from app.jobs import present_keys
from app.merging import assemble_picture, merge_phase
from app.pictures.codecs import decode_pixels, upper_bits
from app.planning import plan_request
from app.schemas import read_request
from app.settings import Settings
from app.storage.memory import MemoryStore
from tests.properties.test_stages import CPU
from workers.loading import ModelCache
from workers.renderer import Renderer
from workers.stages.context import Context
from workers.upscaling import UpscalerCache

SIZE = {"height": 136, "width": 136}
SPOT = (slice(20, 70), slice(30, 80))


@pytest.fixture(scope="module")
def context(families):
    return Context(MemoryStore(), ModelCache(families, CPU), UpscalerCache({}, CPU), 100.0)


@pytest.fixture
def render(context, families):
    """Plan and picture of a request, whose blobs are in the store of *context* then."""

    def finish(**fields):
        request = read_request({"prompt": "a map", "steps": 2} | SIZE | fields)
        settings = Settings(model="sd", models_path=[])
        plan = plan_request(request, families, settings, context.store.get)
        context.store.put(plan_key(plan.hash), plan.to_json())
        while missing := next_work(plan, present_keys(context.store, plan)):
            for work in missing:
                perform(context, plan, work)
        return plan, context.store.get(Work(Stage.PICTURE, 0).key(plan))

    return finish


def perform(context, plan, work):
    if work.stage is Stage.MERGE:
        merge_phase(context.store, plan, work.image, work.phase)
    elif work.stage is Stage.PICTURE:
        assemble_picture(context.store, plan, work.image)
    else:
        blob = Renderer(context).render(plan, work, lambda: None)
        context.store.put(work.key(plan), blob)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pasted(context, plan, key=pixels_key):
    """The cores of a plan as one picture."""
    first = decode_pixels(context.store.get(key(plan, 0, 0)))
    canvas = np.zeros((plan.spec.height, plan.spec.width, 3), first.dtype)
    for core in range(len(plan.decode.cores)):
        pixels = decode_pixels(context.store.get(key(plan, 0, core)))
        canvas[plan.core_pixels(core).window] = pixels
    return canvas


@pytest.mark.parametrize("upscale", [1, 2])
def test_cores_of_sixteen_bits_are_those_of_eight_told_more_finely(context, render, upscale):
    shallow, deep = (pasted(context, render(depth=bits, upscale=upscale)[0]) for bits in (8, 16))

    assert (shallow.dtype, deep.dtype) == (np.uint8, np.uint16)
    levels = np.abs(deep / 257 - shallow)
    assert levels.max() <= 0.51
    assert len(np.unique(deep % 257)) > 200  # not eight bits in disguise


def test_the_file_says_sixteen_bits_and_is_what_was_decoded(context, render):
    plan, file = render(depth=16, format="tiff")

    written = imagecodecs.tiff_decode(file)
    assert written.dtype == np.uint16
    np.testing.assert_array_equal(written, pasted(context, plan))


def test_a_mask_keeps_what_it_does_not_paint_to_the_last_bit(context, render):
    noise = np.random.default_rng(3).integers(0, 256, (136, 136, 3), np.uint8)
    white = np.zeros((136, 136), np.uint8)
    white[SPOT] = 255
    context.store.put("inputs/noise", png(noise))
    context.store.put("inputs/white", png(white))

    plan, _ = render(depth=16, init_image="inputs/noise", mask="inputs/white")

    picture = pasted(context, plan)
    np.testing.assert_array_equal(picture[white == 0], noise[white == 0] * np.uint16(257))
    assert np.abs(upper_bits(picture)[SPOT].astype(int) - noise[SPOT]).max() > 0


def test_a_part_painted_anew_keeps_the_other_bits_of_its_picture(context, render):
    parent, _ = render(depth=16)
    before = pasted(context, parent)
    box = {"top": 20, "left": 30, "bottom": 70, "right": 80}
    again = {"plan_hash": parent.hash, "box": box}

    plan, _ = render(depth=16, rerender=again, seed=5, mode=parent.spec.mode.value)

    after = pasted(context, plan)
    np.testing.assert_array_equal(pasted(context, plan, ground_key), before)
    outside = np.ones((136, 136), bool)
    outside[SPOT] = False
    assert after.dtype == np.uint16
    np.testing.assert_array_equal(after[outside], before[outside])
    assert (after[SPOT] != before[SPOT]).any()
