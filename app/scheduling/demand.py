"""How much work waits for each pool, whosever it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import groupby, islice

from app.domain.work import Work
from app.scheduling.forecast import Forecast
from app.scheduling.job import OpenJob
from app.scheduling.reach import Reach


def demand_s(jobs: Iterable[OpenJob], reach: Reach, forecast: Forecast) -> dict[str, float]:
    """Predicted seconds of work on one worker that wait for each pool, or are with it.

    Of every picture all that is left until it goes to another pool, whose workers could only wait
    for it. Nothing of paused jobs.
    """
    found: dict[str, float] = defaultdict(float)
    for job in jobs:
        if not job.entry.is_paused:
            for (pool, work), count in _units(job, reach).items():
                found[pool] += count * forecast.unit(job.plan, work).mean_s
    return found


def _units(job: OpenJob, reach: Reach) -> Counter[tuple[str, Work]]:
    """How many units there are of each pool, and like which."""
    found = Counter((flight.pool, job.like(work)) for work, flight in job.flying.items())
    fronts = job.fronts()
    stages = {work.stage for front in fronts for work, _ in front}
    pools = {stage: reach.served(job, stage) for stage in stages}
    for front in fronts:
        runs = groupby(front, key=lambda unit: pools[unit[0].stage])
        for pool, units in islice(runs, 1):
            found.update({(pool, work): count for work, count in units})
    return found
