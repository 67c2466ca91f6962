"""Which device this process computes on, and in which precision."""

from __future__ import annotations

import re

import torch

from app.domain.errors import ConfigurationError


def choose_device(name: str) -> torch.device:
    """The device called *name*; ``auto`` is the first GPU, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise ConfigurationError(f"TILECHORD_DEVICE must be auto, cpu or cuda[:N], got {name!r}")
    number = int(name.partition(":")[2] or 0)  # torch keeps it in eight bits: 256 is 0 there
    if name != "cpu" and number >= torch.cuda.device_count():
        raise ConfigurationError(
            f"TILECHORD_DEVICE: this machine has {torch.cuda.device_count()} GPUs, got {name!r}"
        )
    return torch.device(name)


def choose_dtype(device: torch.device, half_precision: torch.dtype) -> torch.dtype:
    """*half_precision* on a GPU; CPUs without AMX are slower with it."""
    return half_precision if device.type == "cuda" else torch.float32
