"""Units that a second run would save: whose they may be, and who would run them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from app.domain.prediction import Estimate
from app.domain.scheduling.stragglers import Running, stragglers
from app.domain.spec import Priority
from app.domain.work import Work, loaded_label
from app.nodes import LOST_AFTER_BEATS, CurrentUnit, NodeRecord, NodeState
from app.scheduling.forecast import Forecast
from app.scheduling.job import Flight, OpenJob
from app.scheduling.line import Line
from app.scheduling.overdue import Sight, holders_of

_NOTHING = 0
"""Below the level of any job."""
_WARM_BEATS = 1
"""Before that, what seems to hang may be a worker that did not get its processor."""


def is_tail(line: Line, nodes: Iterable[NodeRecord]) -> bool:
    """Whether all is sent and some of it not done, while a worker that could help has nothing.

    Not where nodes have queues of their own: each look asks the broker for every one of them.
    """
    jobs = {job.entry.job_id: job for job in line}
    flights = [flight for job in jobs.values() for flight in job.flying.values()]
    is_all_sent = not any(job.ready_units and not job.entry.is_paused for job in jobs.values())
    if not flights or not is_all_sent or any(flight.node for flight in flights):
        return False
    pools = {flight.pool for flight in flights}
    ready = (node for node in nodes if node.state is NodeState.READY)
    return any(_has_none_of(jobs, node) for node in ready if any(map(node.serves, pools)))


def late_units(
    line: Line, pool: str, ready: Collection[OpenJob], sight: Sight, forecast: Forecast
) -> list[tuple[OpenJob, Work]]:
    """Units of *pool* that end too late, or that another worker would end sooner.

    Only of jobs above all that waits for the pool, be it in its queue or among *ready*, jobs with
    units to be sent: a copy keeps nothing waiting that has as good a right. No more than there are
    workers that would take one next.
    """
    floor = _waiting_level(line, pool, ready, sight)
    urgent = [job for job in line if line.level(job).level > floor and not job.entry.is_paused]
    helpers = list(_helpers(urgent, pool, sight))
    if not helpers:
        return []

    def on_helper(run: Running[tuple[OpenJob, Work]]) -> Estimate:
        return min(_estimate(*run.unit, node, line, forecast) for node in helpers)

    running = list(_running(urgent, pool, sight, forecast))
    return stragglers(running, on_helper, len(helpers))


def _waiting_level(line: Line, pool: str, ready: Collection[OpenJob], sight: Sight) -> int:
    """The highest level of what waits for *pool*."""
    levels = [line.level(job).level for job in ready]
    if messages := sight.ready.get(pool, 0):
        queued = [flight.level.level for job in line for flight in _queued(job, pool, sight)]
        # Another dispatcher may have sent the others, at any level.
        levels += queued if len(queued) >= messages else [Priority.HIGH.level]
    return max(levels, default=_NOTHING)


def _queued(job: OpenJob, pool: str, sight: Sight) -> Iterator[Flight]:
    """Units of *job* that lie in the queue of *pool*; a copy does until it is begun."""
    holders = holders_of(job, sight.alive(pool))
    for work, flight in job.flying.items():
        begun_s = [
            sight.now_s - node.age_s - unit.elapsed_s for node, unit in holders.get(work, [])
        ]
        is_begun = max(begun_s) >= flight.sent_s if begun_s and flight.attempt else bool(begun_s)
        if flight.pool == pool and not is_begun:
            yield flight


def _helpers(urgent: Sequence[OpenJob], pool: str, sight: Sight) -> Iterator[NodeRecord]:
    """Nodes that take work and have none, or none of an *urgent* job.

    One that shows only what is done has none: it says so with its next heartbeat, seconds later.
    """
    jobs = {job.entry.job_id: job for job in urgent}
    return (node for node in sight.taking(pool) if _has_none_of(jobs, node))


def _has_none_of(jobs: Mapping[str, OpenJob], node: NodeRecord) -> bool:
    """Whether *node* works on nothing of *jobs* that is not done."""
    at_hand = ((jobs[unit.job_id], unit) for unit in node.at_hand if unit.job_id in jobs)
    return all(job.flying.keys().isdisjoint(unit.works) for job, unit in at_hand)


def _estimate(
    job: OpenJob, work: Work, node: NodeRecord, line: Line, forecast: Forecast
) -> Estimate:
    """Seconds until *node* would be done with *work*, after what it has now."""
    # By experience alone: against a guess every long unit would be late.
    estimate = forecast.experience(job.plan, work, node.node, node.device)
    left_s = sum(_left_s(unit, node, line, forecast) for unit in node.at_hand)
    return Estimate(estimate.mean_s + left_s, estimate.sigma)


def _left_s(unit: CurrentUnit, node: NodeRecord, line: Line, forecast: Forecast) -> float:
    """Seconds until *node* is done with what it has at hand; 0 of a job nobody knows."""
    if (job := line.get(unit.job_id)) is None:
        return 0.0
    times = [forecast.on_node(job.plan, work, node.node, node.device) for work in unit.works]
    return max(0.0, sum(one.mean_s for one in times) - unit.elapsed_s)


def _running(
    jobs: Sequence[OpenJob], pool: str, sight: Sight, forecast: Forecast
) -> Iterator[Running[tuple[OpenJob, Work]]]:
    """First runs of units of *pool*; those of a batch share its time."""
    for job in jobs:
        for work, holders in holders_of(job, sight.alive(pool)).items():
            flight = job.flying.get(work)
            if flight is None or flight.pool != pool or flight.attempt:
                continue
            for node, unit in holders:
                is_known = forecast.knows(job.plan, work, node.node)
                expected = forecast.on_node(job.plan, work, node.node) if is_known else None
                expected_s = expected.mean_s if expected else None
                elapsed_s = unit.elapsed_s_each + node.age_s / len(unit.works)
                least_s = _least_s(job, work, node, sight)
                yield Running((job, work), elapsed_s, expected_s, least_s)


def _least_s(job: OpenJob, work: Work, node: NodeRecord, sight: Sight) -> float:
    """How long *node* may be at *work* at least before that hangs.

    A model that is loaded first takes seconds that no prediction knows of.
    """
    is_warm = loaded_label(job.plan, work.stage) in node.models
    return (_WARM_BEATS if is_warm else LOST_AFTER_BEATS) * sight.heartbeat_s
