"""Restored cores through the store: equality with restoring the whole decoded picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from app.domain.errors import ModelError
from app.domain.spec import Wrap
from app.domain.work import Stage, Work, ground_key
from app.editing import write_area
from app.parts import colours_key
from app.pictures.codecs import decode_pixels, encode_pixels
from tests.properties.test_decoding import (
    ROUNDED,
    canvas_of,
    from_noise,
    render_cores,
    statistics_of,
    stored,
)
from tests.support.autoencoders import build_autoencoder
from tests.support.edits import masked
from tests.support.upscalers import Denoiser, OneUpscaler, Shift
from tests.unit.domain.cards import plan
from workers.colour import anchor_colours
from workers.stages import core as stage
from workers.stages.core import render_core
from workers.stages.picture import enlarged_window
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.load import Upscaler
from workers.vae import decode

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae():
    return build_autoencoder(attends=False)


@pytest.fixture(scope="module")
def restorer():
    torch.manual_seed(2)
    return Upscaler(Denoiser().requires_grad_(False), scale=1, device=CPU)


@pytest.fixture(scope="module")
def upscaler():
    torch.manual_seed(1)
    network = SRVGGNetCompact(features=4, convolutions=16, scale=2).requires_grad_(False)
    return Upscaler(network, scale=2, device=CPU)


def worker(render, vae, upscaler, restorer):
    """One whose store holds a finished canvas, and the canvas."""
    canvas = canvas_of(render, vae)
    context = stored(render, canvas, vae)
    context.upscalers = OneUpscaler(upscaler, restorer)
    return context, canvas


@pytest.mark.parametrize("scale", [1, 2], ids=["restored", "restored and enlarged"])
def test_restored_cores_equal_the_whole_picture_restored(vae, restorer, upscaler, scale):
    render = from_noise(height=96 * scale, width=528 * scale, upscale=scale, restore="deblur")
    context, canvas = worker(render, vae, upscaler, restorer)

    picture = render_cores(context, render)

    decoded = decode(vae, canvas, statistics_of(context, render))
    whole = restorer(decoded)
    assert len(render.decode.cores) == 2
    assert np.abs(whole - decoded).max() > 0.1  # it does something
    assert np.abs(picture - (upscaler(whole) if scale > 1 else whole)).max() <= ROUNDED


def test_a_wrapped_picture_is_restored_past_its_ends(vae, restorer):
    render = from_noise(height=96, width=528, wrap=Wrap.X, tile=64, overlap=16, restore="deblur")
    context, canvas = worker(render, vae, None, restorer)

    picture = render_cores(context, render)

    longer = np.pad(canvas, ((0, 0), (0, 0), (24, 24)), mode="wrap")
    whole = restorer(decode(vae, longer, statistics_of(context, render)))
    assert np.abs(picture - whole[:, 192 : 192 + 528]).max() <= ROUNDED


def test_colours_are_fixed_behind_the_restoration(vae, restorer, upscaler):
    render = plan(height=192, width=1056, upscale=2, restore="deblur")
    context, canvas = worker(render, vae, upscaler, restorer)
    colours = np.random.default_rng(3).random((64, 352, 3), np.float32)
    context.put(colours_key(render, 0), colours)

    picture = render_cores(context, render)

    restored = restorer(decode(vae, canvas, statistics_of(context, render)))
    reference = enlarged_window(render, colours, render.canvas)
    whole = upscaler(anchor_colours(restored, reference).clip(0, 1))
    assert render.decode.anchors_colours
    assert np.abs(picture - whole).max() <= ROUNDED


def shifting(reach, scale=1):
    """A network that moves pixels by as far as it reaches, then enlarges them."""
    enlarge = nn.Upsample(scale_factor=scale, mode="nearest") if scale > 1 else nn.Identity()
    return Upscaler(nn.Sequential(Shift(reach), enlarge), scale=scale, device=CPU)


@pytest.mark.parametrize(("missing", "is_exact"), [(0, True), (1, False)], ids=["planned", "less"])
@pytest.mark.parametrize(
    ("restorer", "upscaler"),
    [(shifting(40), None), (shifting(22), shifting(18, scale=2))],
    ids=["alone", "before an upscaler"],
)
def test_the_planned_padding_is_what_the_networks_see_and_no_latent_less_is(
    monkeypatch, restorer, upscaler, missing, is_exact
):
    scale = upscaler.scale if upscaler else 1
    size = {"height": 96 * scale, "width": 1040 * scale, "upscale": scale}
    render = from_noise(**size, restore="deblur", restorer_padding=restorer.padding)
    decoder = from_noise(height=96, width=1040).decode.padding
    # A decoder that sees one pixel for a pixel: what is left is for the networks behind it.
    beyond = replace(render.decode, padding=render.decode.padding - decoder - missing)
    short = replace(render, decode=replace(beyond, windows=()))
    decoded = np.random.default_rng(5).random((96, 1040, 3), np.float32)
    monkeypatch.setattr(stage, "_decoded", lambda *given: decoded[given[3].scaled(8).window])
    monkeypatch.setattr(stage, "check_padding", lambda *given: None)
    context, _ = worker(render, None, upscaler, restorer)

    picture = render_cores(context, short)

    whole = restorer(decoded)
    difference = np.abs(picture - (upscaler(whole) if upscaler else whole)).max()
    assert beyond.padding == 5 - missing
    assert (difference <= ROUNDED) == is_exact


def test_a_core_with_less_context_than_restorer_and_upscaler_reach_is_refused(
    vae, restorer, upscaler
):
    render = from_noise(height=192, width=1056, upscale=2, restore="deblur", restorer_padding=6)
    short = replace(render, decode=replace(render.decode, padding=render.decode.padding - 1))
    context, _ = worker(short, vae, upscaler, restorer)

    with pytest.raises(ModelError) as refusal:
        render_core(context, short, Work(Stage.CORE, 0), lambda: None)

    assert str(refusal.value) == (
        "restorer deblur and upscaler realesr-animevideov3: padding must be at least the 23 px "
        "that their layers reach, got 16 px in the plan; set TILECHORD_UPSCALERS where plans are "
        "made to what `python -m workers.upscale.settings` prints"
    )


def test_an_order_that_ends_does_not_wait_for_its_restoration(monkeypatch, restorer):
    render = from_noise(height=96, width=528, restore="deblur")
    context, _ = worker(render, None, None, restorer)
    decoded = np.zeros((96, 528, 3), np.float32)
    monkeypatch.setattr(stage, "_decoded", lambda *given: decoded[given[3].scaled(8).window])

    def end():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        render_core(context, render, Work(Stage.CORE, 0), end)


def test_an_edit_restores_what_it_paints_and_nothing_else(monkeypatch, restorer):
    mask = np.zeros((12, 66), np.uint8)
    mask[3:8, 4:12] = 255
    render, area = masked(from_noise(height=96, width=528, restore="deblur"), mask)
    context, _ = worker(render, None, None, restorer)
    write_area(context.store, render, 0, area, lambda: None)
    ground = np.random.default_rng(4).integers(0, 256, (96, 264, 3), np.uint8)
    context.store.put(ground_key(render, 0, 0), encode_pixels(ground))
    decoded = np.random.default_rng(5).random((96, 528, 3), np.float32)
    monkeypatch.setattr(stage, "_decoded", lambda *given: decoded[given[3].scaled(8).window])

    pixels = decode_pixels(render_core(context, render, Work(Stage.CORE, 0), lambda: None))

    restored = np.round(restorer(decoded)[:, :264] * 255)
    inner, outside = np.s_[32:56, 40:88], np.repeat(np.repeat(mask, 8, 0), 8, 1)[:, :264] == 0
    np.testing.assert_array_equal(pixels[outside], ground[outside])
    assert np.abs(pixels[inner] - restored[inner]).max() <= 1


def test_an_order_without_a_restorer_is_not_restored(vae):
    render = from_noise(height=96, width=528)
    context, canvas = worker(render, vae, None, shifting(40))

    picture = render_cores(context, render)

    assert np.abs(picture - decode(vae, canvas, statistics_of(context, render))).max() <= ROUNDED
