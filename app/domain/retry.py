"""How long to wait before another attempt."""

from __future__ import annotations

_DOUBLINGS = 60  # more would not fit into a float, and no cap is that far away


def backoff_s(attempt: int, base_s: float, cap_s: float, u: float) -> float:
    """Seconds to wait after failed attempt number *attempt*, counted from 0.

    Doubles from *base_s* to *cap_s*. Half of it is chance, *u* in ``[0, 1)``: what failed
    together must not come back together.
    """
    longest_s = min(cap_s, base_s * 2.0 ** min(attempt, _DOUBLINGS))
    return longest_s * (0.5 + 0.5 * u)
