import io
import json

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import NotFoundError
from app.domain.plan import canonical_json
from app.domain.spec import Mode
from app.domain.work import Stage, Work, canvas_key, series_prefix
from app.manifests import manifest_of
from app.measuring import (
    measure_stored,
    quality_key,
    starting_cells,
    stored_picture,
)
from app.merging import assemble_picture
from app.pictures.codecs import encode_array, encode_pixels
from app.storage.memory import MemoryStore
from tests.support.pictures import checks, one_over_f, pixels
from tests.unit.domain.cards import plan

HEIGHT, WIDTH = 512, 768
ORDER = {"height": HEIGHT, "width": WIDTH, "tile": 256, "overlap": 64}
TEXTURE = one_over_f(HEIGHT, WIDTH, seed=0)


def store_image(store, render, image, luma, *, base=None) -> None:
    """What workers leave behind: a base, cores, and the proof that phases were merged."""
    start = np.full((8, 12, 3), 0.5, np.float32) if base is None else base
    store.put(Work(Stage.BASE, image).key(render), encode_array(start))
    quality = canonical_json({"overlap_disagreement": 0.01 * (image + 1)})
    store.put(canvas_key(render, image, len(render.phases)), quality)
    for index in range(len(render.decode.cores)):
        core = pixels(luma)[render.core_pixels(index).window]
        store.put(Work(Stage.CORE, image, index=index).key(render), encode_pixels(core))


def manifest(*lumas, **order):
    store, render = MemoryStore(), plan(**ORDER | order, count=len(lumas))
    for image, luma in enumerate(lumas):
        store_image(store, render, image, luma)
        assemble_picture(store, render, image)
    return manifest_of(store, render, "job", [], cached=False)


def test_a_manifest_tells_every_figure():
    quality = manifest(TEXTURE).quality

    assert list(quality) == [
        "low_frequency_drift",
        "overlap_disagreement",
        "repetition",
        "seam_z",
        "variance_dip",
    ]
    assert quality["overlap_disagreement"] == 0.01
    assert quality["seam_z"] < 1.5


def test_the_worst_picture_of_a_batch_decides():
    stepped = TEXTURE + checks(HEIGHT, WIDTH, 128, 12 / 255)
    smooth = np.full((HEIGHT, WIDTH), 0.5)

    one, other, both = manifest(TEXTURE), manifest(smooth), manifest(TEXTURE, smooth, stepped)

    assert both.quality["overlap_disagreement"] == 0.03
    assert both.quality["seam_z"] >= max(one.quality["seam_z"], other.quality["seam_z"])
    assert both.quality["variance_dip"] <= min(
        one.quality["variance_dip"], other.quality["variance_dip"]
    )


def test_one_window_from_noise_has_no_figures_but_the_one_of_its_tiles():
    store, render = MemoryStore(), plan(height=512, width=512, mode=Mode.DIRECT)
    store_image(store, render, 0, TEXTURE[:, :512])
    assemble_picture(store, render, 0)

    quality = manifest_of(store, render, "job", [], cached=False).quality

    assert quality == {"overlap_disagreement": 0.01}


def test_a_picture_from_before_it_was_measured_still_has_its_manifest():
    store, render = MemoryStore(), plan(**ORDER)
    store_image(store, render, 0, TEXTURE)
    assemble_picture(store, render, 0)
    store.delete(quality_key(render, 0))

    quality = manifest_of(store, render, "job", [], cached=False).quality

    assert quality == {"overlap_disagreement": 0.01}


def test_the_quality_is_known_when_only_the_picture_is_left():
    store, render = MemoryStore(), plan(**ORDER)
    store_image(store, render, 0, TEXTURE)
    assemble_picture(store, render, 0)
    before = manifest_of(store, render, "job", [], cached=False).quality

    for key in list(store.keys(series_prefix(render))):
        store.delete(key)

    assert manifest_of(store, render, "job", [], cached=True).quality == before
    assert before["overlap_disagreement"] == 0.01


def test_a_picture_of_sixteen_bits_measures_as_one_of_eight():
    shallow, deep = (plan(**ORDER, depth=depth) for depth in (None, 16))
    store = MemoryStore()
    for index in range(len(deep.decode.cores)):
        core = pixels(TEXTURE)[deep.core_pixels(index).window].astype(np.uint16) * 257
        store.put(Work(Stage.CORE, 0, index=index).key(deep), encode_pixels(core))
    for render in (shallow, deep):
        store_image(store, render, 0, TEXTURE)  # cores that are there stay

    for render in (shallow, deep):
        assemble_picture(store, render, 0)

    figures = json.loads(store.get(quality_key(shallow, 0)))
    assert json.loads(store.get(quality_key(deep, 0))) == figures
    assert measure_stored(store, deep, 0).figures.items() <= figures.items()


@pytest.mark.parametrize("kind", ["png", "jxl", "tiff"])
def test_the_stored_picture_measures_as_it_did_when_it_was_written(kind):
    store, render = MemoryStore(), plan(**ORDER, format=kind)
    store_image(store, render, 0, TEXTURE)
    assemble_picture(store, render, 0)

    again = measure_stored(store, render, 0)

    stored = json.loads(store.get(quality_key(render, 0)))
    assert again.figures | {"overlap_disagreement": 0.01} == stored
    assert again.seams.columns.shape == (4, 4)


def test_a_picture_that_is_not_there_cannot_be_measured():
    with pytest.raises(NotFoundError):
        stored_picture(MemoryStore(), plan(**ORDER), 0)


@pytest.mark.parametrize("blob", [None, b"damaged"], ids=["gone", "damaged"])
def test_a_render_does_not_fail_for_want_of_its_base(blob):
    store, render = MemoryStore(), plan(**ORDER)
    store_image(store, render, 0, TEXTURE)
    key = Work(Stage.BASE, 0).key(render)
    store.delete(key)
    if blob is not None:
        store.put(key, blob)

    assemble_picture(store, render, 0)

    figures = json.loads(store.get(quality_key(render, 0)))
    assert list(figures) == ["overlap_disagreement", "seam_z", "variance_dip"]


def test_a_base_is_enlarged_to_the_canvas():
    store, render = MemoryStore(), plan(**ORDER)
    slope = np.broadcast_to(np.linspace(0, 1, 96)[None, :, None], (64, 96, 3))
    store_image(store, render, 0, TEXTURE, base=slope.astype(np.float32))

    cells = starting_cells(store, render, 0)

    assert cells.shape == (64, 96, 3)
    np.testing.assert_allclose(cells, slope, atol=0.01)


def test_a_picture_smaller_than_its_canvas_shows_less_of_the_start():
    # 500 px are 63 latents: the start reaches 4 px beyond the picture.
    store, render = MemoryStore(), plan(**ORDER | {"width": 500})
    slope = np.broadcast_to(np.linspace(0, 1, 504)[None, :, None], (32, 504, 3))
    store_image(store, render, 0, TEXTURE[:, :500], base=slope.astype(np.float32))

    cells = starting_cells(store, render, 0)

    assert cells.shape == (64, 62, 3)
    centres = (np.arange(62) * 8 + 3.5) / 503
    np.testing.assert_allclose(cells[10, :, 0], centres, atol=0.004)


def test_a_users_picture_is_what_its_render_is_compared_with():
    store, picture = MemoryStore(), pixels(TEXTURE)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    store.put("inputs/sketch", buffer.getvalue())
    render = plan(**ORDER, init_image="inputs/sketch")
    store_image(store, render, 0, TEXTURE)

    assemble_picture(store, render, 0)

    figures = json.loads(store.get(quality_key(render, 0)))
    assert figures["low_frequency_drift"] < 0.2 / 255
    assert figures["repetition"] == pytest.approx(0, abs=0.03)


def test_a_users_picture_too_large_to_read_is_not_compared(monkeypatch):
    monkeypatch.setattr("app.measuring._MAX_START_MPX", 0.1)
    store = MemoryStore()
    buffer = io.BytesIO()
    Image.fromarray(pixels(TEXTURE)).save(buffer, "PNG")
    store.put("inputs/large", buffer.getvalue())

    assert starting_cells(store, plan(**ORDER, init_image="inputs/large"), 0) is None


def test_a_render_from_noise_alone_is_compared_with_nothing():
    store, render = MemoryStore(), plan(**ORDER, mode=Mode.PHASED)
    store_image(store, render, 0, TEXTURE)

    assert starting_cells(store, render, 0) is None
