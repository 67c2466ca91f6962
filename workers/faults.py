"""What a device's own errors mean: too little memory, or a context that is lost."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from app.domain.errors import DeviceOutOfMemoryError

_GB = 1e9
# Sticky: after one of these every call of this process on the device fails. An error of one
# kernel's arguments is not, and says "CUDA error" too.
_FATAL = (
    "illegal memory access",
    "device-side assert",
    "unspecified launch failure",
    "uncorrectable ECC",
    "misaligned address",
    "illegal instruction",
    "hardware stack error",
    "invalid program counter",
    "launch timed out",
)
# What says so without torch.OutOfMemoryError.
_OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class DeviceLostError(Exception):
    """This process can no longer compute on its device."""


@contextmanager
def device_errors(device: str) -> Iterator[None]:
    """Raises what *device* raises as ``DeviceOutOfMemoryError`` or ``DeviceLostError``.

    Memory that the failed attempt held is free again by then.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as err:
        free_memory(err)
    except RuntimeError as err:
        if any(sign in str(err) for sign in _FATAL):
            raise DeviceLostError(f"{device}: {str(err).splitlines()[0]}") from err
        if not any(sign in str(err) for sign in _OUT_OF_MEMORY):
            raise
        free_memory(err)
    else:
        return
    # Raised after the block: what caused it holds the tensors of every frame it went through.
    raise DeviceOutOfMemoryError(f"{device} with {_memory_gb(device):.1f} GB has too little memory")


def free_memory(error: BaseException) -> None:
    """Give back what the frames that *error* went through hold, and what torch keeps for later."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _memory_gb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(torch.device(device))[1] / _GB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
