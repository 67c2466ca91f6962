"""The device that a worker renders on, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import GaugeMetricFamily, Metric


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device at this moment; ``None`` is not known."""

    device: str
    name: str
    memory_bytes: int
    free_bytes: int
    utilisation: float | None = None
    """Part of the time in which it computed, in ``[0, 1]``."""
    temperature_c: float | None = None

    @property
    def labels(self) -> list[str]:
        return [self.device, self.name]


class DeviceCollector:
    """Asks at every scrape, not with the heartbeat: a slow driver makes no node look lost.

    What is not known has no series: all of a worker that renders nothing, utilisation and
    temperature of a CPU.
    """

    def __init__(self) -> None:
        self._read: Callable[[], DeviceState | None] = lambda: None

    def watch(self, read: Callable[[], DeviceState | None]) -> None:
        """Ask *read*, which must not raise: the scrape would lose all other metrics too."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        state = self._read()
        yield _gauge(
            "tilechord_device_memory_bytes", "Memory of the device", state, lambda s: s.memory_bytes
        )
        yield _gauge(
            "tilechord_device_memory_free_bytes",
            "Memory of the device that nobody uses",
            state,
            lambda s: s.free_bytes,
        )
        yield _gauge(
            "tilechord_device_utilisation_ratio",
            "Part of the time in which the device computed, as its driver tells",
            state,
            lambda s: s.utilisation,
        )
        yield _gauge(
            "tilechord_device_temperature_celsius",
            "Temperature of the device",
            state,
            lambda s: s.temperature_c,
        )

    def describe(self) -> Iterator[Metric]:
        """Registering asks no device; no metric of another collector shares a name."""
        return iter([])


def _gauge(
    name: str,
    told: str,
    state: DeviceState | None,
    value_of: Callable[[DeviceState], float | None],
) -> Metric:
    family = GaugeMetricFamily(name, told, labels=["device", "device_name"])
    if state is not None and (value := value_of(state)) is not None:
        family.add_metric(state.labels, value)
    return family


DEVICE = DeviceCollector()
"""The one of this process."""
REGISTRY.register(DEVICE)
