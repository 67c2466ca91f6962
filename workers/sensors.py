"""How much of this node others use: not what this worker needs itself, which it may have."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Protocol

import torch

from app.domain.guard import Load

log = logging.getLogger(__name__)
_STAT = Path("/proc/stat")


class Sensor(Protocol):
    """Tells the load of this node."""

    def read(self) -> Load: ...


def open_sensor(name: str, device: torch.device) -> Sensor | None:
    """The sensor called *name*: ``auto``, ``file:PATH`` for an agent of your own, ``none``."""
    if name == "none":
        return None
    if name == "auto":
        return MachineSensor(device)
    return FileSensor(Path(name.removeprefix("file:")))


class FileSensor:
    """Reads ``{"gpu_memory": 0.5, "cpu": 0.1}``, which another program writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_blind = False

    def read(self) -> Load:
        """A file that is not there, or half written, tells nothing; that is logged once."""
        try:
            found = json.loads(self._path.read_text())
            load = Load(_fraction(found.get("gpu_memory")), _fraction(found.get("cpu")))
        except (OSError, ValueError, TypeError, AttributeError) as err:
            if not self._is_blind:
                log.warning("sensor.blind", extra={"path": str(self._path), "reason": str(err)})
            self._is_blind = True
            return Load()
        self._is_blind = False
        return load


class MachineSensor:
    """Asks the GPU's driver and the kernel."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = _cpu_times()

    def read(self) -> Load:
        return Load(self._gpu_memory(), self._cpu())

    def _gpu_memory(self) -> float | None:
        if self._device.type != "cuda":
            return None
        free_bytes, total_bytes = torch.cuda.mem_get_info(self._device)
        own_bytes = torch.cuda.memory_reserved(self._device)
        return max(total_bytes - free_bytes - own_bytes, 0) / total_bytes

    def _cpu(self) -> float | None:
        """Of all cores, since the last reading."""
        before, now = self._before, _cpu_times()
        if before is None or now is None or now[1] <= before[1]:
            return None
        self._before = now
        busy_s, total_s = now[0] - before[0], now[1] - before[1]
        return min(max(busy_s / total_s, 0.0), 1.0)


def _cpu_times() -> tuple[float, float] | None:
    """Seconds that all cores were busy with others, and that they had; Linux alone tells."""
    try:
        fields = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return None
    ticks_s = 1 / os.sysconf("SC_CLK_TCK")
    idle_s = (fields[3] + fields[4]) * ticks_s  # idle and waiting for disks
    total_s = sum(fields[:8]) * ticks_s  # the guests that follow are counted in user time
    return total_s - idle_s - time.process_time(), total_s


def _fraction(value: object) -> float | None:
    return None if value is None else float(str(value))
