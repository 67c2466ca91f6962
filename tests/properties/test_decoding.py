"""Head and cores through the store: equality with decoding the whole canvas."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.canvas import band_boxes, band_key, features_number, read_window, write_band
from app.domain.card import HEAD_PADDING
from app.domain.errors import ModelError
from app.domain.geometry import Box
from app.domain.spec import Mode, Wrap
from app.domain.work import Stage, Work, image_key
from app.parts import colours_key
from app.pictures.codecs import decode_pixels
from tests.support.autoencoders import KINDS, build_autoencoder, build_tiny_decoder
from tests.support.engine import toy_context
from tests.support.upscalers import OneUpscaler
from tests.unit.domain.cards import SD15, plan
from workers.colour import anchor_colours
from workers.stages.core import _decoded, render_core
from workers.stages.head import render_head
from workers.stages.picture import enlarged_window
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.load import Upscaler
from workers.vae import decode, decode_head, decode_tail, decode_tiny, survey_head

EXACT = 5e-5
"""In units of a pixel's range."""
ROUNDED = 0.51 / 255
"""Pixels are stored in 8 bits: where the exact value lies between two, both are right."""


class Autoencoder:
    """A model that only decodes."""

    def __init__(self, vae):
        self.card, self.vae, self.tiny = SD15, vae, build_tiny_decoder()


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def vae(request):
    return build_autoencoder(**request.param)


@pytest.fixture(scope="module")
def upscaler():
    torch.manual_seed(1)
    network = SRVGGNetCompact(features=4, convolutions=16, scale=2).requires_grad_(False)
    return Upscaler(network, scale=2, device=torch.device("cpu"))


def from_noise(**changes):
    """A plan whose colours are its own."""
    return plan(mode=Mode.PHASED, **changes)


def canvas_of(render, vae=None):
    channels = vae.config.latent_channels if vae else 4
    shape = (channels, render.canvas_height, render.canvas_width)
    noise = np.random.default_rng(1).standard_normal(shape)
    return (noise * np.linspace(0.5, 2, render.canvas_width)).astype(np.float32)


def stored(render, canvas, vae, upscaler=None):
    """A worker whose store holds the finished *canvas*."""
    context = toy_context(Autoencoder(vae))
    context.upscalers = OneUpscaler(upscaler)
    for number, band in enumerate(band_boxes(render)):
        part = canvas[(slice(None), *band.window)]
        write_band(context.store, render, 0, len(render.phases), number, part)
    return context


def render_cores(context, render):
    """The picture ``(H, W, 3)`` in ``[0, 1]`` that the plan's cores make."""
    if render.decode.freezes_statistics:
        render_head(context, render, Work(Stage.HEAD, 0), lambda: None)
    picture = np.full((render.spec.height, render.spec.width, 3), np.nan)
    for index in range(len(render.decode.cores)):
        core = render_core(context, render, Work(Stage.CORE, 0, index=index), lambda: None)
        pixels = decode_pixels(core)
        picture[render.core_pixels(index).window] = pixels / 255
    return picture


def statistics_of(context, render):
    return context.array(image_key(render, 0, "statistics"))


def test_cores_behind_a_head_equal_the_whole_decode(vae):
    render = from_noise(height=96, width=1040)
    canvas = canvas_of(render, vae)
    context = stored(render, canvas, vae)

    picture = render_cores(context, render)

    whole = decode(vae, canvas, statistics_of(context, render))
    assert render.decode.head
    assert len(render.decode.cores) == 3
    assert np.abs(picture - whole[:96, :1040]).max() <= ROUNDED


def test_the_head_is_normalised_by_the_whole_canvas_and_the_tail_by_windows(vae):
    render = from_noise(height=96, width=1040)
    windows = (Box(0, 0, 12, 20), Box(0, 110, 12, 130))
    render = replace(render, decode=replace(render.decode, windows=windows, rim=2))
    canvas = canvas_of(render, vae)
    context = stored(render, canvas, vae)

    picture = render_cores(context, render)

    statistics = statistics_of(context, render)
    truth, _ = survey_head(vae, canvas, [render.canvas], rim=0)
    is_true = np.isclose(statistics, truth, rtol=1e-5, atol=1e-6).all(axis=(1, 2))
    assert is_true.sum() == 5  # of 30 layers, those of the middle block
    assert np.abs(picture - decode(vae, canvas, statistics)).max() <= ROUNDED


def test_a_small_canvas_is_decoded_as_if_it_had_never_been_cut(vae):
    render = from_noise(height=96, width=528)
    canvas = canvas_of(render, vae)

    picture = render_cores(stored(render, canvas, vae), render)

    assert len(render.decode.cores) == 2
    assert np.abs(picture - decode(vae, canvas)).max() <= ROUNDED


def test_beyond_the_limit_cores_see_their_own_part_with_the_same_statistics(vae):
    render = from_noise(height=96, width=528)
    core = Box(0, 33, 12, 66)
    decode_plan = replace(render.decode, head=False, padding=18, cores=(core,), windows=(core,))
    render = replace(render, decode=decode_plan)
    canvas = canvas_of(render, vae)
    context = stored(render, canvas, vae)

    render_head(context, render, Work(Stage.HEAD, 0), lambda: None)
    pixels = decode_pixels(render_core(context, render, Work(Stage.CORE, 0), lambda: None)) / 255

    part = decode(vae, canvas[:, :, 15:], statistics_of(context, render))
    assert np.abs(pixels - part[:, 18 * 8 :]).max() <= ROUNDED


class Noting:
    """An upscaler that keeps what it gives, in floats before they are rounded."""

    def __init__(self, upscaler):
        self.network, self.padding, self._upscaler = upscaler.network, upscaler.padding, upscaler
        self.given = []

    def __call__(self, pixels):
        self.given.append(self._upscaler(pixels))
        return self.given[-1]


def test_decoding_and_super_resolution_of_cores_equal_one_after_the_other(vae, upscaler):
    render = from_noise(height=192, width=1056, upscale=2)
    canvas, noting = canvas_of(render, vae), Noting(upscaler)
    context = stored(render, canvas, vae, noting)

    picture = render_cores(context, render)

    whole = upscaler(decode(vae, canvas, statistics_of(context, render)))
    assert len(render.decode.cores) == len(noting.given) == 2
    assert np.abs(pasted(render, noting.given) - whole).max() <= EXACT
    assert np.abs(picture - whole).max() <= ROUNDED


def pasted(render, parts):
    """The picture that *parts*, the pixels of every padded core, make."""
    scale = render.latent_scale * render.spec.upscale
    picture = np.full((render.spec.height, render.spec.width, 3), np.nan)
    for index, (core, pixels) in enumerate(zip(render.decode.cores, parts, strict=True)):
        padded = core.padded(render.decode.padding, within=render.reach).scaled(scale)
        box = render.core_pixels(index)
        picture[box.window] = pixels[box.relative_to(padded).window]
    return picture


def test_a_core_with_less_context_than_the_upscaler_reaches_is_refused(vae, upscaler):
    render = from_noise(height=192, width=1056, upscale=2)
    short = replace(render, decode=replace(render.decode, padding=render.decode.padding - 1))
    context = stored(short, canvas_of(short, vae), vae, upscaler)

    with pytest.raises(
        ModelError, match="padding must be at least the 18 px that its layers reach"
    ):
        render_cores(context, short)


@pytest.mark.parametrize(
    ("wrap", "rows", "columns"), [(Wrap.X, 0, 24), (Wrap.XY, 24, 24)], ids=["x", "xy"]
)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_wrapped_picture_decodes_as_if_it_went_on_for_ever(kind, wrap, rows, columns):
    render = from_noise(height=96, width=528, wrap=wrap, tile=64, overlap=16)
    vae = build_autoencoder(**kind, attends=False)
    canvas = canvas_of(render, vae)
    context = stored(render, canvas, vae)

    picture = render_cores(context, render)

    longer = np.pad(canvas, ((0, 0), (rows, rows), (columns, columns)), mode="wrap")
    whole = decode(vae, longer, statistics_of(context, render))
    inner = whole[8 * rows : 8 * rows + 96, 8 * columns : 8 * columns + 528]
    assert np.abs(picture - inner).max() <= ROUNDED


def decoded_cores(context, render):
    """The picture as ``render_cores``, in floats before they are rounded."""
    parts = []
    for index, core in enumerate(render.decode.cores):
        padded = core.padded(render.decode.padding, within=render.reach)
        work = Work(Stage.CORE, 0, index=index)
        parts.append(_decoded(context, render, work, padded, lambda: None))
    return pasted(render, parts)


def features_of(context, render):
    """What the head has stored for the whole canvas, ``(C, H, W)``."""
    return read_window(render, 0, features_number(render), render.canvas, context.array)


def make_loud(context, render, near):
    """Features 3000 times as large but inside *near*; with random weights what lies at the edge
    of what a network reaches would hardly count."""
    features = features_of(context, render)
    loud = 3000 * features
    window = (slice(None), *near.window)
    loud[window] = features[window]
    context.store.delete(band_key(render, 0, features_number(render), 0))
    write_band(context.store, render, 0, features_number(render), 0, loud)


@pytest.mark.parametrize(("missing", "is_exact"), [(0, True), (2, False)], ids=["planned", "less"])
def test_an_attending_decoder_needs_the_planned_padding(vae, missing, is_exact):
    render = from_noise(height=96, width=1040)
    padding = render.decode.padding - missing
    render = replace(render, decode=replace(render.decode, padding=padding))
    canvas, core = canvas_of(render, vae), render.decode.cores[1]
    context = stored(render, canvas, vae)
    render_head(context, render, Work(Stage.HEAD, 0), lambda: None)
    make_loud(context, render, core.padded(7, within=render.canvas))

    picture = decoded_cores(context, render)

    whole = decode_tail(vae, features_of(context, render), statistics_of(context, render))
    window = render.core_pixels(1).window
    assert (np.abs(picture - whole)[window].max() <= EXACT) == is_exact


@pytest.mark.parametrize(
    ("wrap", "rows", "columns"), [(Wrap.X, 0, 24), (Wrap.XY, 24, 24)], ids=["x", "xy"]
)
def test_a_wrapped_picture_has_a_head_that_attends_past_its_ends(vae, wrap, rows, columns):
    render = from_noise(height=96, width=528, wrap=wrap, tile=64, overlap=16)
    canvas = canvas_of(render, vae)
    context = stored(render, canvas, vae)
    render_head(context, render, Work(Stage.HEAD, 0), lambda: None)

    picture = decoded_cores(context, render)

    statistics, near = statistics_of(context, render), min(rows, HEAD_PADDING)
    seen = np.pad(canvas, ((0, 0), (near, near), (HEAD_PADDING, HEAD_PADDING)), mode="wrap")
    features = decode_head(vae, seen, statistics)
    features = features[:, near : near + len(canvas[0]), HEAD_PADDING:-HEAD_PADDING]
    longer = np.pad(features, ((0, 0), (rows, rows), (columns, columns)), mode="wrap")
    whole = decode_tail(vae, longer, statistics)[8 * rows :, 8 * columns :][:96, :528]
    assert render.decode.head
    np.testing.assert_allclose(picture, whole, rtol=0, atol=EXACT)


def test_cores_of_the_distilled_decoder_equal_its_whole_picture():
    card = replace(SD15, tiny_blocks=(3, 3, 3, 1))
    render = plan(card, height=96, width=1040, mode=Mode.PHASED, decoder="tiny")
    canvas = canvas_of(render)

    picture = render_cores(stored(render, canvas, None), render)

    assert len(render.decode.cores) == 3
    whole = decode_tiny(build_tiny_decoder(), canvas)
    assert np.abs(picture - whole).max() <= ROUNDED


@pytest.mark.parametrize("wrap", [Wrap.NONE, Wrap.X], ids=str)
def test_cores_take_the_colours_of_the_picture_they_started_from(upscaler, wrap):
    render = plan(height=192, width=1056, upscale=2, wrap=wrap, tile=64, overlap=16)
    canvas, colours = canvas_of(render), np.random.default_rng(3).random((64, 352, 3), np.float32)
    context = stored(render, canvas, build_autoencoder(attends=False), upscaler)
    context.put(colours_key(render, 0), colours)

    picture = render_cores(context, render)

    columns = 24 if wrap is Wrap.X else 0
    box = Box(0, -columns, render.canvas_height, render.canvas_width + columns)
    longer = np.pad(canvas, ((0, 0), (0, 0), (columns, columns)), mode="wrap")
    decoded = decode(build_autoencoder(attends=False), longer, statistics_of(context, render))
    anchored = anchor_colours(decoded, enlarged_window(render, colours, box)).clip(0, 1)
    whole = upscaler(anchored)[:, 16 * columns : 16 * columns + 1056]
    assert render.decode.anchors_colours
    assert np.abs(picture - whole).max() <= ROUNDED
