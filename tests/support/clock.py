"""A clock for whatever takes one as ``Callable[[], float]``."""

from dataclasses import dataclass


@dataclass
class HandClock:
    """Seconds that pass when a test says so."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s
