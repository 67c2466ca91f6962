"""What a way of giving out tiles costs in time, simulated: makespan over its lower bound.

Run: ``python -m tests.benchmarks.bench_placement``. No broker and no bytes: only the rules of
``app.domain.scheduling``, against the defaults of Celery and a fixed split.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush

import numpy as np

from app.domain.scheduling.slices import batch_size, longest_first
from app.domain.scheduling.stragglers import Running, stragglers

SPEEDS = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25)
SPREAD = 0.1
DISPATCH_S = 0.01
_CHECK_S = 0.25  # how often a dispatcher looks for stragglers
_RUNS = 100


@dataclass(frozen=True)
class Policy:
    """How tiles reach workers; *most* of one message, or how many are reserved ahead."""

    name: str
    most: int = 1
    reserved: int = 0
    is_static: bool = False
    is_guided: bool = False
    is_speculative: bool = False
    knows_speeds: bool = False


POLICIES = (
    Policy("static split", is_static=True),
    Policy("pull, prefetch 4", reserved=4),
    Policy("pull", most=1),
    Policy("pull, batches of 4", most=4),
    Policy("pull, guided to 4", most=4, is_guided=True),
    Policy("pull, speculative", is_speculative=True),
    Policy("guided, speculative", most=4, is_guided=True, is_speculative=True),
    Policy(
        "guided, speculative, known speeds",
        most=4,
        is_guided=True,
        is_speculative=True,
        knows_speeds=True,
    ),
)


@dataclass(frozen=True)
class Case:
    """Tiles of *sizes*; a run is five times slower with a chance of *slow*."""

    name: str
    sizes: tuple[float, ...]
    slow: float = 0.0
    speeds: tuple[float, ...] = SPEEDS


CASES = (
    Case("16 tiles", (1.0,) * 16),
    Case("64 tiles", (1.0,) * 64),
    Case("256 tiles", (1.0,) * 256),
    Case("64, 10 % at 5x", (1.0,) * 64, slow=0.1),
    Case("64 of 1,1,1,4", (1.0, 1.0, 1.0, 4.0) * 16),
    Case("64, equal workers", (1.0,) * 64, speeds=(1.0,) * 8),
)


@dataclass(eq=False)
class Worker:
    """What it has and since when."""

    speed: float
    held: deque[int] = field(default_factory=deque)
    unit: int | None = None
    since_s: float = 0.0


class Simulation:
    """One job under one policy; ``run`` returns makespan and lower bound in seconds."""

    least_s = 0.0
    """Before that no run hangs."""

    def __init__(self, policy: Policy, case: Case, seed: int) -> None:
        self._policy, self._case = policy, case
        self._random = np.random.default_rng(seed)
        self._first_runs = [self._draw(size) for size in case.sizes]
        self._sizes = case.sizes
        self._workers = [Worker(speed) for speed in case.speeds]
        self._line = deque(longest_first(range(len(case.sizes)), lambda unit: case.sizes[unit]))
        self._left = set(self._line)
        self._runs = dict.fromkeys(self._line, 0)
        self._events: list[tuple[float, int, int]] = []
        self._pushed = 0
        self.now_s = 0.0
        self.taken_s: list[float] = []
        """Seconds of every run that ended, as its worker saw them."""
        self.ended_s: list[float] = []
        """When it ended."""

    def run(self) -> tuple[float, float]:
        if not self._events:
            self.begin()
        self.go_on()
        return self.now_s, self._lower_bound_s()

    def begin(self) -> None:
        if self._policy.is_static:
            for place, unit in enumerate(self._line):
                self._workers[place % len(self._workers)].held.append(unit)
            self._line.clear()
        for index in range(len(self._workers)):
            self._start(index, 0.0)
        if self._policy.is_speculative:
            self._push(_CHECK_S, -1)

    def go_on(self, left: int = 0) -> None:
        """Until no more than *left* units are not done."""
        while len(self._left) > left:
            self.now_s, _, index = heappop(self._events)
            self._check(self.now_s) if index < 0 else self._finish(index, self.now_s)

    def _finish(self, index: int, now_s: float) -> None:
        worker = self._workers[index]
        if worker.unit is not None:
            self._left.discard(worker.unit)
            self.taken_s.append(now_s - worker.since_s)
            self.ended_s.append(now_s)
        worker.unit = None
        self._start(index, now_s)

    def _start(self, index: int, now_s: float) -> None:
        worker = self._workers[index]
        if not worker.held or self._policy.reserved:
            self._take(worker)
        while worker.held and worker.held[0] not in self._left:  # another run was first
            worker.held.popleft()
        if worker.held:
            worker.unit, worker.since_s = worker.held.popleft(), now_s
            self._push(now_s + DISPATCH_S + self._service_s(worker.unit) / worker.speed, index)

    def _take(self, worker: Worker) -> None:
        size = self._policy.most
        if self._policy.is_guided:
            size = batch_size(len(self._line), len(self._workers), self._policy.most)
        if self._policy.reserved:
            size = 1 + self._policy.reserved - len(worker.held)
        for _ in range(min(size, len(self._line))):
            worker.held.append(self._line.popleft())

    def _check(self, now_s: float) -> None:
        """Give stragglers to idle workers, as the dispatcher does."""
        idle = [place for place, worker in enumerate(self._workers) if worker.unit is None]
        idle.sort(key=lambda place: -self._workers[place].speed)
        running = [
            Running(worker.unit, now_s - worker.since_s, self._expected_s(worker), self.least_s)
            for place, worker in enumerate(self._workers)
            if worker.unit is not None
        ]
        late = stragglers(running, partial(self._on_helper, idle), len(idle))
        for place, unit in zip(idle, late if not self._line else (), strict=False):
            self._workers[place].held.append(unit)
            self._start(place, now_s)
        self._push(now_s + _CHECK_S, -1)

    def _on_helper(self, idle: Sequence[int], run: Running[int]) -> tuple[float, float]:
        """Mean and standard deviation of a second run's seconds."""
        return self._sizes[run.unit], SPREAD

    def _expected_s(self, worker: Worker) -> float | None:
        if worker.unit is None or not self._policy.knows_speeds:
            return None
        return self._sizes[worker.unit] / worker.speed

    def _push(self, at_s: float, index: int) -> None:
        self._pushed += 1
        heappush(self._events, (at_s, self._pushed, index))

    def _service_s(self, unit: int) -> float:
        """Work of this run; only the first is part of the lower bound."""
        self._runs[unit] += 1
        return self._first_runs[unit] if self._runs[unit] == 1 else self._draw(self._sizes[unit])

    def _draw(self, size: float) -> float:
        slow = 5.0 if self._random.random() < self._case.slow else 1.0
        return size * slow * float(self._random.lognormal(0.0, SPREAD))

    def _lower_bound_s(self) -> float:
        speeds = self._case.speeds
        return max(sum(self._first_runs) / sum(speeds), max(self._first_runs) / max(speeds))


def ratios(policy: Policy, case: Case, runs: int = _RUNS) -> Sequence[float]:
    """Makespan over lower bound of *runs* seeds."""
    spans = [Simulation(policy, case, seed).run() for seed in range(runs)]
    return [makespan_s / bound_s for makespan_s, bound_s in spans]


def main() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"makespan / lower bound, mean (p95) of {_RUNS} runs")
    for heading in ("", *(case.name for case in CASES)):
        table.add_column(heading)
    for policy in POLICIES:
        found = [ratios(policy, case) for case in CASES]
        cells = [f"{np.mean(one):.2f} ({np.quantile(one, 0.95):.2f})" for one in found]
        table.add_row(policy.name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
