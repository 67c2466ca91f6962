"""What only a worker that renders can tell of its node: device and memory."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from app.bootstrap import runtime
from app.heartbeat import is_own, own_node
from app.live.port import Record
from app.telemetry.device import DEVICE, DeviceState
from workers.device import choose_device
from workers.guard import open_guard
from workers.inventory import Inventory
from workers.notice import heed_spot_notice

log = logging.getLogger(__name__)
T = TypeVar("T")
_GB = 1e9
_MEMINFO = Path("/proc/meminfo")
_CPUINFO = Path("/proc/cpuinfo")


def device_facts(device: torch.device) -> Record:
    """Name and memory of *device*, the fields of a node's record."""
    state = device_state(device)
    return {
        "device": state.device,
        "device_name": state.name,
        "memory_gb": round(state.memory_bytes / _GB, 2),
        "free_memory_gb": round(state.free_bytes / _GB, 2),
    }


def device_state(device: torch.device) -> DeviceState:
    """Name and memory of *device*, without what only a GPU's driver may tell."""
    if device.type != "cuda":
        free_bytes, total_bytes = _machine_memory()
        return DeviceState(str(device), _processor(), total_bytes, free_bytes)
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    index = device.index if device.index is not None else torch.cuda.current_device()
    name = torch.cuda.get_device_name(device)
    return DeviceState(f"cuda:{index}", name, total_bytes, free_bytes)


class DeviceSensor:
    """All that can be told of *device*, for whoever asks for metrics; never raises."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._silent: set[str] = set()

    def read(self) -> DeviceState | None:
        state = self._asked("memory", device_state)
        if state is None or self._device.type != "cuda":
            return state
        percent = self._asked("utilisation", torch.cuda.utilization)
        return replace(
            state,
            utilisation=None if percent is None else percent / 100,
            temperature_c=self._asked("temperature", torch.cuda.temperature),
        )

    def _asked(self, what: str, ask: Callable[[torch.device], T]) -> T | None:
        """What *ask* tells; it is logged once that it tells nothing.

        torch needs ``nvidia-ml-py`` for some, whose errors have no class where it is missing.
        """
        try:
            return ask(self._device)
        except Exception as err:
            if what not in self._silent:
                log.info("device.silent", extra={"about": what, "reason": str(err)})
            self._silent.add(what)
            return None


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
    """Let this process's node and its metrics show its device."""
    device = choose_device(runtime().settings.device)
    own_node().describe_device(lambda: device_facts(device))
    DEVICE.watch(DeviceSensor(device).read)


def watch_node(sender: Any, **_: object) -> None:
    """Start what looks after the node of the worker *sender*.

    Load guard, spot notice, and the list of what is installed.
    """
    if not is_own(sender):
        return
    chosen, node = runtime().settings, own_node()
    guard = open_guard(sender, node, chosen)
    if guard is not None:
        guard.start()
    heed_spot_notice(chosen, node)
    Inventory(node, runtime().catalogue).start()
