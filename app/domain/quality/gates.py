"""Which figures a sound picture has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_SEAM_Z = 1.5
"""Photographs without seams have 0.9 to 1.4; with steps of 2/255 between tiles 1.8 and more."""
MAX_OVERLAP_DISAGREEMENT = 0.02
"""In standard deviations of the latents."""
MIN_VARIANCE_DIP = 0.93
"""Textures that correlate by 0.6 where they are blended."""
MAX_LOW_FREQUENCY_DRIFT = 3.0 / 255.0
"""A change of tone that is just seen when flicking between two pictures."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit on one figure."""

    limit: float
    is_floor: bool = False

    def passes(self, value: float) -> bool:
        return value >= self.limit if self.is_floor else value <= self.limit


GATES: Mapping[str, Gate] = {
    "overlap_disagreement": Gate(MAX_OVERLAP_DISAGREEMENT),
    "seam_z": Gate(MAX_SEAM_Z),
    "variance_dip": Gate(MIN_VARIANCE_DIP, is_floor=True),
    "low_frequency_drift": Gate(MAX_LOW_FREQUENCY_DRIFT),
}
"""``repetition`` has none: pictures of waves or fields repeat themselves rightly."""


def misses(figures: Mapping[str, float]) -> list[str]:
    """Names of the *figures* that do not pass their gate."""
    return [
        name for name, gate in GATES.items() if name in figures and not gate.passes(figures[name])
    ]


def worst(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The worst value of each figure; of ``variance_dip`` that is the smallest."""
    found: dict[str, float] = {}
    for each in figures:
        for name, value in each.items():
            choose = min if name in GATES and GATES[name].is_floor else max
            found[name] = choose(found.get(name, value), value)
    return found
