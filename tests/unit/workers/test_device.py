import pytest
import torch

from app.domain.errors import ConfigurationError
from workers.device import choose_device, choose_dtype


@pytest.mark.parametrize(
    "name", ["meta", "mps", "cuda:", "cuda:-1", "cuda:00", "cpu:0", "", "CUDA"]
)
def test_a_device_that_workers_do_not_use_is_refused(name):
    with pytest.raises(ConfigurationError) as refusal:
        choose_device(name)

    assert str(refusal.value) == f"TILECHORD_DEVICE must be auto, cpu or cuda[:N], got {name!r}"


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:200"])
def test_a_gpu_that_is_not_there_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(name == "cuda:1"))

    with pytest.raises(ConfigurationError, match=rf"this machine has \d GPUs, got '{name}'$"):
        choose_device(name)


@pytest.mark.parametrize(("gpus", "expected"), [(0, "cpu"), (2, "cuda")], ids=["none", "two"])
def test_auto_is_the_first_gpu_or_the_processor(gpus, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)

    assert choose_device("auto") == torch.device(expected)


@pytest.mark.parametrize(
    ("device", "dtype"), [("cpu", torch.float32), ("cuda:1", torch.bfloat16)], ids=str
)
def test_half_precision_is_for_gpus(device, dtype):
    assert choose_dtype(torch.device(device), torch.bfloat16) is dtype
