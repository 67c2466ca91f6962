"""What clients of the soak ask for: small pictures of every mode, a function of a number."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

TENANTS = {"press": 1.0, "atlas": 2.0, "school": 0.5}
"""Who orders, and what share of the workers each has."""

_SHAPES: tuple[dict[str, Any], ...] = (
    {"height": 256, "width": 256, "mode": "refine"},  # 25 tiles
    {"height": 320, "width": 256, "mode": "phased", "steps": 2},  # 2 phases of 35 tiles
    {"height": 192, "width": 192, "mode": "refine", "count": 2},  # 2 pictures of 16 tiles
    {"height": 256, "width": 192, "mode": "multidiffusion", "steps": 3},  # 3 phases of 20 tiles
    {"height": 128, "width": 128, "mode": "phased", "steps": 1},  # 9 tiles
    {"height": 320, "width": 320, "mode": "refine"},  # 49 tiles
)


def request_of(seed: int, number: int) -> dict[str, Any]:
    """The *number*-th request of the run with *seed*; one in ten repeats an earlier one.

    That one may be another tenant's, who shares its blobs.
    """
    tenant = Random(f"tenant {seed}:{number}").choice(sorted(TENANTS))
    return _picture(seed, number) | {"tenant": tenant}


def _picture(seed: int, number: int) -> dict[str, Any]:
    random = Random(f"{seed}:{number}")
    if number >= 10 and random.random() < 0.1:
        return _picture(seed, random.randrange(number))
    return {
        "prompt": f"islands {seed} {number}",
        "seed": number,
        "tile": 64,
        "overlap": 16,
        "priority": random.choice(["low", "normal", "normal", "high"]),
        **random.choice(_SHAPES),
    }


def is_cancelled(seed: int, number: int) -> bool:
    """Whether the client takes the *number*-th order back."""
    return number > 0 and Random(f"cancel {seed}:{number}").random() < 0.06


@dataclass(frozen=True)
class Deed:
    """What a client does with an open order."""

    after_s: float
    """Since it was acknowledged."""
    name: str
    priority: str = ""


def deeds_of(seed: int, number: int) -> list[Deed]:
    """What the client does with the *number*-th order, in order of time."""
    random = Random(f"deeds {seed}:{number}")
    draw, after_s = random.random(), random.uniform(0.0, 3.0)
    if draw < 0.1:
        return [Deed(after_s, "pause"), Deed(after_s + random.uniform(0.5, 3.0), "resume")]
    if draw < 0.2:
        return [Deed(after_s, "prioritise", random.choice(["low", "normal", "high"]))]
    return []
