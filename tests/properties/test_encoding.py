"""Preparation through the store: equality with encoding the whole canvas."""

from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from app.canvas import band_boxes, read_window
from app.domain.card import HEAD_PADDING
from app.domain.errors import InvalidPlanError
from app.domain.geometry import Box
from app.domain.spec import Mode, Wrap
from app.domain.work import Stage, Work
from app.pictures.codecs import encode_array
from tests.support.autoencoders import build_autoencoder
from tests.support.engine import ToyModel, toy_context
from tests.unit.domain.cards import SD15, plan
from workers.stages.prepare import render_prepare
from workers.vae import encode, encode_down, encode_middle, survey_encoder

EXACT = 1e-6
"""In units of latents whose deviation is 0.14."""

SIZES = pytest.mark.parametrize(
    ("height", "width"), [(248, 1040), (1040, 248), (488, 520)], ids=["wide", "tall", "square"]
)


class Autoencoder(ToyModel):
    """A model that reads prompts and encodes."""

    vae: AutoencoderKL

    def __init__(self, vae):
        super().__init__(SD15)
        object.__setattr__(self, "pipeline", SimpleNamespace(vae=vae))


@pytest.fixture(scope="module")
def convolutional():
    return build_autoencoder(attends=False)


def picture_of(render, seed=2):
    """Noise that grows brighter to the right: parts of it have statistics of their own."""
    canvas = render.canvas.scaled(8)
    noise = np.random.default_rng(seed).random((canvas.height, canvas.width, 3), np.float32)
    return noise * np.linspace(0.2, 1, canvas.width, dtype=np.float32)[:, None]


def prepared(render, vae, picture):
    """The latents ``(C, H, W)`` that the stage leaves in the store."""
    context = toy_context(Autoencoder(vae))
    context.store.put(Work(Stage.BASE, 0).key(render), encode_array(picture))
    render_prepare(context, render, Work(Stage.PREPARE, 0), lambda: None)
    return read_window(render, 0, 0, render.canvas, context.array)


def beyond_the_limit(render):
    """*render* as if its canvas were too large for a head."""
    encode = replace(render.encode, head=False)
    return replace(render, encode=encode, encoder_padding=SD15.encoder_padding)


def statistics_of(render, vae, picture):
    windows = [picture[box.scaled(8).window] for box in render.encode.windows]
    return survey_encoder(vae, windows, 8 * render.encode.rim)


def whole_encode(render, vae, picture):
    """As one: the down path at the plan's statistics, the middle at those of all features."""
    return encode_middle(vae, encode_down(vae, picture, statistics_of(render, vae, picture)))


def enlarged_twofold(picture):
    height, width = (2 * side for side in picture.shape[:2])
    channels = (
        Image.fromarray(np.ascontiguousarray(channel)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for channel in np.moveaxis(picture, 2, 0)
    )
    return np.stack([np.asarray(channel) for channel in channels], axis=2).clip(0, 1)


def error(latents, truth):
    return np.abs(latents - truth).max()


@SIZES
def test_latents_equal_the_whole_encode_at_the_same_statistics(vae, height, width):
    render = plan(height=height, width=width)
    picture = picture_of(render)

    latents = prepared(render, vae, picture)

    assert (render.encode.head, render.encode.rim) == (True, 2)
    assert error(latents, whole_encode(render, vae, picture)) <= EXACT


@SIZES
def test_one_latent_less_of_padding_shows(vae, height, width):
    render = plan(height=height, width=width)
    picture = picture_of(render)
    thinner = replace(render, encoder_padding=render.encoder_padding - 8)

    latents = prepared(thinner, vae, picture)

    assert error(latents, whole_encode(render, vae, picture)) > 5 * EXACT


@SIZES
def test_a_middle_that_sees_its_own_part_alone_shows(vae, height, width):
    render = plan(height=height, width=width)
    picture = picture_of(render)

    latents = prepared(beyond_the_limit(render), vae, picture)

    at_the_same = encode(vae, picture, statistics_of(render, vae, picture))
    assert error(latents, at_the_same) > 1000 * EXACT


@pytest.mark.parametrize(("height", "width"), [(96, 528), (88, 72)], ids=["two cores", "one core"])
def test_a_small_picture_is_encoded_as_diffusers_does(vae, height, width):
    render = plan(height=height, width=width)
    picture = picture_of(render)
    with torch.inference_mode():
        signal = torch.from_numpy(picture).permute(2, 0, 1)[None] * 2 - 1
        mean = vae.encode(signal).latent_dist.mode()[0].numpy() * vae.config.scaling_factor

    latents = prepared(render, vae, picture)

    assert render.encode.windows in ((), (render.canvas,))
    assert error(latents, mean) <= 5 * EXACT  # torch sums its statistics in another order


def test_a_direct_render_encodes_its_canvas_whole(vae):
    render = plan(height=520, width=1024, mode=Mode.DIRECT, init_image="inputs/map")
    picture = np.round(picture_of(render) * 255).astype(np.uint8)
    context = toy_context(Autoencoder(vae))
    file = BytesIO()
    Image.fromarray(picture).save(file, "png")
    context.store.put("inputs/map", file.getvalue())

    render_prepare(context, render, Work(Stage.PREPARE, 0), lambda: None)

    latents = read_window(render, 0, 0, render.canvas, context.array)
    assert render.encode.windows == ()
    assert error(latents, encode(vae, picture / np.float32(255))) <= EXACT


def test_beyond_the_limit_padded_cores_equal_the_whole_but_for_their_attention(convolutional):
    render = beyond_the_limit(plan(height=1040, width=96))
    picture = picture_of(render)

    latents = prepared(render, convolutional, picture)

    assert len(band_boxes(render)) == 2
    truth = encode(convolutional, picture, statistics_of(render, convolutional, picture))
    assert error(latents, truth) <= EXACT


@pytest.mark.parametrize("has_head", [True, False], ids=["head", "beyond the limit"])
@pytest.mark.parametrize(
    ("wrap", "rows", "columns"), [(Wrap.X, 0, 24), (Wrap.XY, 24, 24)], ids=["x", "xy"]
)
def test_a_wrapped_picture_is_encoded_as_if_it_went_on_for_ever(
    convolutional, wrap, rows, columns, has_head
):
    render = plan(height=192, width=528, wrap=wrap, tile=64, overlap=16)
    render = render if has_head else beyond_the_limit(render)
    picture = picture_of(render)[:96, :264]

    latents = prepared(render, convolutional, picture)

    laps = ((96 if rows else 0,) * 2, (96,) * 2, (0, 0))
    longer = enlarged_twofold(np.pad(picture, laps, mode="wrap"))
    picture = longer[8 * rows : 8 * rows + 192, 192:-192]
    statistics = statistics_of(render, convolutional, picture)
    features = encode_down(convolutional, longer, statistics)
    canvas = render.canvas.inside(Box(rows, columns, rows, columns))
    padded = canvas.padded(HEAD_PADDING, within=Box(0, 0, *features.shape[1:]))
    around = features[(slice(None), *padded.window)]
    whole = encode_middle(convolutional, around, None if has_head else statistics)
    whole = whole[(slice(None), *canvas.relative_to(padded).window)]
    assert error(latents, whole) <= 5 * EXACT  # windows of other sizes are summed in another order


def test_statistics_are_those_of_the_canvas_not_of_its_windows_edges(convolutional):
    render = plan(height=1040, width=1040)
    picture = picture_of(render)
    windows = [picture[box.scaled(8).window] for box in render.encode.windows]
    with torch.inference_mode():
        first = convolutional.encoder.conv_in(
            torch.from_numpy(picture).permute(2, 0, 1)[None] * 2 - 1
        )
    inside = [
        first[
            (..., *Box(box.top + 2, box.left + 2, box.bottom - 2, box.right - 2).scaled(8).window)
        ]
        for box in render.encode.windows
    ]
    grouped = torch.stack(inside).reshape(len(inside), 4, -1).transpose(0, 1).flatten(1)

    (mean, variance), *_ = survey_encoder(convolutional, windows, 16)
    (edges, _), *_ = survey_encoder(convolutional, windows, 0)

    np.testing.assert_allclose(mean, grouped.mean(1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(variance, grouped.var(1, correction=0), rtol=0, atol=1e-6)
    assert np.abs(edges - mean).max() > 1e-4


def reached(run, pixels):
    """Pixels between a latent and the farthest one that it sees, to its left and to its right."""
    before, after = [], []
    for column in range(192, 200):
        marked = pixels.copy()
        marked[:, column] = np.nan
        seen = np.isnan(run(marked)).any(axis=(0, 1)).nonzero()[0]
        before.append(8 * seen.max() - column)
        after.append(column - (8 * seen.min() + 7))
    return max(before), max(after)


@pytest.mark.parametrize(("layers", "far"), [(2, (61, 68)), (1, (31, 38))])
def test_the_cards_paddings_are_what_an_encoder_reaches_and_no_latent_more(layers, far):
    encoder = build_autoencoder(attends=False, layers=layers)
    card = replace(SD15, vae_layers=layers)
    pixels = np.random.default_rng(2).random((16, 392, 3), np.float32)
    statistics = survey_encoder(encoder, [pixels], rim=0)

    down = reached(lambda part: encode_down(encoder, part, statistics), pixels)
    whole = reached(lambda part: encode(encoder, part, statistics), pixels)

    assert down == far
    assert card.down_padding == -(-max(down) // 8) * 8
    assert card.encoder_padding == -(-max(whole) // 8) * 8


def test_a_plan_that_does_not_say_how_is_refused(vae):
    render = replace(plan(height=96, width=104), encode=None, version=3)

    with pytest.raises(InvalidPlanError) as refusal:
        prepared(render, vae, picture_of(render))

    assert str(refusal.value) == (
        "this plan, of version 3, does not say how its picture is encoded"
    )
