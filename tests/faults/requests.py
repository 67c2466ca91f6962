"""What clients of the soak ask for: small pictures of every mode, a function of a number."""

from __future__ import annotations

from random import Random
from typing import Any

_SHAPES: tuple[dict[str, Any], ...] = (
    {"height": 256, "width": 256, "mode": "refine"},  # 25 tiles
    {"height": 320, "width": 256, "mode": "phased", "steps": 2},  # 2 phases of 35 tiles
    {"height": 192, "width": 192, "mode": "refine", "count": 2},  # 2 pictures of 16 tiles
    {"height": 256, "width": 192, "mode": "multidiffusion", "steps": 3},  # 3 phases of 20 tiles
    {"height": 128, "width": 128, "mode": "phased", "steps": 1},  # 9 tiles
    {"height": 320, "width": 320, "mode": "refine"},  # 49 tiles
)


def request_of(seed: int, number: int) -> dict[str, Any]:
    """The *number*-th request of the run with *seed*; one in ten repeats an earlier one."""
    random = Random(f"{seed}:{number}")
    if number >= 10 and random.random() < 0.1:
        return request_of(seed, random.randrange(number))
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
