"""What only a worker that renders can tell of its node: device and memory."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch

from app.bootstrap import runtime
from app.heartbeat import own_node
from app.live.port import Record
from workers.device import choose_device
from workers.guard import open_guard
from workers.notice import heed_spot_notice

_GB = 1e9
_MEMINFO = Path("/proc/meminfo")
_CPUINFO = Path("/proc/cpuinfo")


def device_facts(device: torch.device) -> Record:
    """Name and memory of *device*, the fields of a node's record."""
    if device.type == "cuda":
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        index = device.index if device.index is not None else torch.cuda.current_device()
        device = torch.device("cuda", index)
    else:
        free_bytes, total_bytes = _machine_memory()
        name = _processor()
    return {
        "device": str(device),
        "device_name": name,
        "memory_gb": round(total_bytes / _GB, 2),
        "free_memory_gb": round(free_bytes / _GB, 2),
    }


def _machine_memory() -> tuple[int, int]:
    """Free and total bytes; what Linux could free counts as free."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines(_MEMINFO):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024, total
    return total, total


@cache
def _processor() -> str:
    for line in _lines(_CPUINFO):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _lines(path: Path) -> list[str]:
    """Lines of a file that only Linux has."""
    return path.read_text().splitlines() if path.exists() else []


def describe_device(**_: object) -> None:
    """Let this process's node show its device."""
    device = choose_device(runtime().settings.device)
    own_node().describe_device(lambda: device_facts(device))


def watch_node(sender: Any, **_: object) -> None:
    """Start what looks after the node of the worker *sender*: load guard and spot notice."""
    chosen, node = runtime().settings, own_node()
    guard = open_guard(sender, node, chosen)
    if guard is not None:
        guard.start()
    heed_spot_notice(chosen, node)
