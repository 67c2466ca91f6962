"""When a node is too busy with other things to take work, and when it is not any more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What others use of a node, as fractions in ``[0, 1]``; ``None`` where nobody can tell."""

    gpu_memory: float | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Fractions above which a node pauses; ``None`` never."""

    gpu_memory: float | None
    cpu: float | None
    margin: float
    """How far below its limit a load must fall before work goes on: without it a node at its
    limit would pause and resume with every reading."""


def overload(load: Load, limits: Limits, *, is_paused: bool) -> str:
    """Why a node must not take work now; empty when it may.

    What cannot be measured pauses nobody.
    """
    margin = limits.margin if is_paused else 0.0
    readings = (
        ("GPU memory", load.gpu_memory, limits.gpu_memory),
        ("CPU", load.cpu, limits.cpu),
    )
    return ", ".join(
        f"{name} {used:.0%} in use by others, limit {limit:.0%}"
        for name, used, limit in readings
        if used is not None and limit is not None and used > limit - margin
    )
