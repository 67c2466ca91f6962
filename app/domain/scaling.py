"""How many workers a pool needs, by the seconds of work that wait for it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """So many workers that each has *target_s* seconds of work, within bounds."""

    minimum: int
    maximum: int
    target_s: float
    cooldown_s: float
    """Fewer are kept only after fewer were enough for so long."""

    def wanted(self, pending_s: float) -> int:
        """Workers for *pending_s* seconds of work on one of them; one for any work at all."""
        return min(max(math.ceil(pending_s / self.target_s), self.minimum), self.maximum)


class Scaler:
    """Grows at once and shrinks slowly: a worker takes long to start, and stages of a job differ.

    What was wanted most during the last ``cooldown_s`` is what is kept.
    """

    def __init__(self, rule: ScalingRule) -> None:
        self._rule = rule
        self._recent: deque[tuple[float, int]] = deque()

    def settle(self, pending_s: float, now_s: float) -> int:
        """How many workers there should be now."""
        wanted = self._rule.wanted(pending_s)
        # What is older and not more than this can never again be the most: the rest falls.
        while self._recent and self._recent[-1][1] <= wanted:
            self._recent.pop()
        self._recent.append((now_s, wanted))
        while self._recent[0][0] < now_s - self._rule.cooldown_s:
            self._recent.popleft()
        return self._recent[0][1]
