"""How often a job's end is predicted within a tenth, and how often it could be, simulated.

Run: ``python -m tests.benchmarks.bench_eta``. Workers pull tiles one by one and learn how long they
take; late ones are run again by what was learned, and when 32 are done the dispatcher's own
``Forecast`` predicts the end, told without delay what every worker has. From that moment the
rest of each job is played again and again, every time that is not over drawn anew: these are
the ends that it could have had. Whatever is known at that moment, a prediction is one number, and
no number lies within a tenth of more of them than *the best*. That is found in hindsight, so it is
more than anybody could reach who does not know the draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from app.domain.prediction import Estimate
from app.domain.scheduling.stragglers import Running
from app.domain.spec import Mode
from app.domain.work import Outcome, Stage, Work
from app.nodes import CurrentUnit, NodeRecord
from app.scheduling.forecast import Forecast
from app.storage.memory import MemoryStore
from tests.benchmarks.bench_placement import DISPATCH_S, Case, Policy, Simulation, Worker
from tests.unit.domain.cards import plan
from tests.unit.scheduling.jobs import before_tiles, opened

POLICY = Policy("pull, speculative, known speeds", is_speculative=True, knows_speeds=True)
PREDICTED_AFTER = 32
WITHIN = 0.1
PLAN = plan(mode=Mode.REFINE, nsr=0.25, height=4096, width=4096, tile=512, overlap=0)
TILES = 64
"""Of the one phase of ``PLAN``."""

EQUAL = (1.0,) * 8
CASES = (
    Case("unequal workers", (1.0,) * TILES),
    Case("unequal, 10 % at 5x", (1.0,) * TILES, slow=0.1),
    Case("equal workers", (1.0,) * TILES, speeds=EQUAL),
    Case("equal, 10 % at 5x", (1.0,) * TILES, slow=0.1, speeds=EQUAL),
)
_WARMING = 36
"""Tiles of each of two jobs before the one that is predicted."""
_NOTHING_S = 1e-5
_STORE = MemoryStore()
_RUNS, _ENDS = 100, 100

Ends = NDArray[np.float64]


class Job(Simulation):
    """A job whose tiles' times teach *forecast*, which decides what is run again."""

    least_s = 2.0
    """A heartbeat."""

    def __init__(self, case: Case, seed: int, forecast: Forecast) -> None:
        super().__init__(POLICY, case, seed)
        self._forecast = forecast
        self._seed = seed

    @property
    def eta_s(self) -> float:
        """Seconds from now on until it is done, as predicted."""
        done = [_tile(unit) for unit in range(TILES) if unit not in self._left]
        running = {worker.unit for worker in self._workers if worker.unit in self._left}
        job, _ = opened(PLAN, *before_tiles(PLAN), *done)
        job.take(len(running), [Stage.TILE], "gpu", 0.0)  # the first ones, as they were begun
        nodes = [self._node(index) for index in range(len(self._workers))]
        return self._forecast.eta_s(job, nodes, 0.0, 0.0)

    def played_again(self, number: int) -> Self:
        """As it stands now, with another draw of every time that is not over."""
        other = deepcopy(self, {id(_STORE): _STORE})  # its locks cannot be copied
        other._random = np.random.default_rng((self._seed, 1 + number))
        for unit, size in enumerate(other._sizes):
            if not other._runs[unit]:
                other._first_runs[unit] = other._draw(size)
        other._events = [event for event in other._events if event[2] < 0]
        for index, worker in enumerate(other._workers):
            if worker.unit is not None:
                other._push(worker.since_s + other._outlasting_s(worker), index)
        return other

    def run_out(self) -> None:
        """End what still runs though its unit is done: it teaches too."""
        for at_s, _, index in sorted(event for event in self._events if event[2] >= 0):
            self._finish(index, at_s)

    def _outlasting_s(self, worker: Worker) -> float:
        """How long a run takes in all that has not ended yet."""
        assert worker.unit is not None
        while True:
            run_s = DISPATCH_S + self._draw(self._sizes[worker.unit]) / worker.speed
            if run_s > self.now_s - worker.since_s:
                return run_s

    def _node(self, index: int) -> NodeRecord:
        """What a worker shows of itself."""
        worker, current = self._workers[index], None
        if worker.unit is not None and worker.unit in self._left:
            current = CurrentUnit(
                job_id="job",
                plan_hash=PLAN.hash,
                elapsed_s=self.now_s - worker.since_s,
                **asdict(_tile(worker.unit)),
            )
        return NodeRecord(node=_name(index), pid=1, pool="gpu", device="cpu", current=current)

    def _finish(self, index: int, now_s: float) -> None:
        worker = self._workers[index]
        if worker.unit is not None:
            _observe(self._forecast, Stage.TILE, now_s - worker.since_s, _name(index))
        super()._finish(index, now_s)

    def _on_helper(self, idle: Sequence[int], run: Running[int]) -> Estimate:
        unknown = Estimate(math.inf, math.inf)
        return min((self._experience(index) for index in idle), default=unknown)

    def _expected_s(self, worker: Worker) -> float | None:
        node = _name(self._workers.index(worker))
        if not self._forecast.knows(PLAN, _tile(0), node):
            return None
        return self._forecast.on_node(PLAN, _tile(0), node).mean_s

    def _experience(self, index: int) -> Estimate:
        return self._forecast.experience(PLAN, _tile(0), _name(index), "cpu")


class Chance(NamedTuple):
    """How good the prediction of one job's end is."""

    ours: float
    """Share of the possible ends from which it is off by a tenth of them at most."""
    best: float
    """The largest such share of any number."""
    error: float
    """How far it is off the median end, as a share of that."""


def chance(case: Case, seed: int, ends: int = _ENDS) -> Chance:
    """Of one job of *case*, as it stands after 32 tiles."""
    job = halfway(case, seed)
    predicted_s = job.now_s + job.eta_s
    possible_s = np.array([job.played_again(number).run()[0] for number in range(ends)])
    error = float(predicted_s / np.median(possible_s) - 1)
    return Chance(share(possible_s, predicted_s), best_share(possible_s), error)


def share(ends_s: Ends, predicted_s: float) -> float:
    """Share of *ends_s* from which *predicted_s* is off by no more than a tenth of them."""
    return float(np.mean(np.abs(predicted_s - ends_s) <= WITHIN * ends_s * (1 + 1e-9)))


def best_share(ends_s: Ends) -> float:
    """The largest share that any prediction has: moved up until the first of its ends is only just
    within a tenth, it keeps the others."""
    return max(share(ends_s, end_s * (1 + WITHIN)) for end_s in ends_s)


def halfway(case: Case, seed: int) -> Job:
    """A job after 32 tiles, and after others that its workers have learned from."""
    forecast = Forecast(_STORE)
    _observe(forecast, Stage.HEAD, _NOTHING_S)
    _observe(forecast, Stage.CORE, _NOTHING_S)
    steps = (Work(Stage.MERGE, 0), Work(Stage.PICTURE, 0))
    forecast.observe_steps(PLAN, dict.fromkeys(steps, _NOTHING_S))
    warming = replace(case, sizes=(1.0,) * _WARMING)
    for number in (1, 2):
        earlier = Job(warming, 1000 * number + seed, forecast)
        earlier.run()
        earlier.run_out()
    job = Job(case, seed, forecast)
    job.begin()
    job.go_on(TILES - PREDICTED_AFTER)
    return job


def _observe(forecast: Forecast, stage: Stage, seconds: float, node: str = "") -> None:
    event = {"status": Outcome.RENDERED, "seconds": seconds, "device": "cpu", "node": node}
    forecast.observe(PLAN, Work(stage, 0), event)


def _tile(index: int) -> Work:
    return Work(Stage.TILE, 0, index=index)


def _name(index: int) -> str:
    return f"w{index}@host"


def main() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{_ENDS} possible ends of {_RUNS} jobs, after {PREDICTED_AFTER} tiles")
    for heading in ("", "ours within 10 %", "best possible", "ours, median error", "p5", "p95"):
        table.add_column(heading)
    for case in CASES:
        found = [chance(case, seed) for seed in range(_RUNS)]
        errors = np.quantile([one.error for one in found], (0.5, 0.05, 0.95))
        shares = np.mean([(one.ours, one.best) for one in found], axis=0)
        cells = [f"{one:.0%}" for one in shares] + [f"{error:+.1%}" for error in errors]
        table.add_row(case.name, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
