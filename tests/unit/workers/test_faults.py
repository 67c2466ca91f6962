import subprocess
import sys
import weakref

import pytest
import torch

from app.domain.errors import DeviceOutOfMemoryError
from workers.faults import DeviceLostError, device_errors


class Tensor:
    """What a failed attempt holds."""


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["torch", "python", "cublas", "cpu allocator"],
)
def test_every_way_to_run_out_of_memory_is_told_alike(error):
    with (
        pytest.raises(DeviceOutOfMemoryError, match=r"^cpu with \d+\.\d GB has too little memory$"),
        device_errors("cpu"),
    ):
        raise error


def test_what_the_failed_attempt_held_is_free_when_the_error_is_told():
    kept = []

    def attempt():
        tensor = Tensor()
        kept.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceOutOfMemoryError), device_errors("cpu"):
        attempt()

    assert kept[0]() is None


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA",
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
    ],
    ids=["memory access", "assert", "launch", "ecc"],
)
def test_a_context_that_is_lost_is_told_from_a_failed_unit(message):
    with (
        pytest.raises(DeviceLostError, match=r"^cuda:0: CUDA error: [^\n]*$"),
        device_errors("cuda:0"),
    ):
        raise RuntimeError(message)


def test_any_other_error_is_left_alone():
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2"), device_errors("cpu"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_side_assert_is_a_lost_context():
    """In a process of its own: its context is lost for good."""
    program = (
        "import torch; from workers.faults import DeviceLostError, device_errors\n"
        "try:\n"
        "    with device_errors('cuda:0'):\n"
        "        torch.zeros(1, device='cuda')[torch.tensor([5], device='cuda')].cpu()\n"
        "except DeviceLostError: raise SystemExit(3)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 3
