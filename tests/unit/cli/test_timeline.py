from __future__ import annotations

import pytest

from app.bootstrap import runtime
from app.cli.timeline import remaining_s, timeline
from app.domain.plan import RenderPlan
from app.domain.work import Run, Stage, Work, work_of
from app.planning import plan_request
from app.schemas import read_request
from tests.support.installation import Installation


@pytest.fixture
def plan(installation: Installation) -> RenderPlan:
    del installation
    request = read_request({"prompt": "a hill", "width": 128, "height": 64})
    return plan_request(request, runtime().catalogue, runtime().settings)


def run(unit: str, worker: str = "left", started_ms: int = 1000, seconds: float = 1.0) -> Run:
    return Run(unit, worker, started_ms, seconds)


def test_the_timeline_groups_by_worker_and_starts_at_zero() -> None:
    runs = [
        run("image-0000/phase-0/tile-00001", "right", 3000, 2.0),
        run("image-0000/base", "left", 1000, 2.0),
        run("image-0000/phase-0/tile-00000", "left", 3000, 1.0),
    ]

    rows = list(timeline(runs))

    assert rows == [
        ("left", "image-0000/base", "0.00", "2.00", "█" * 20),
        ("left", "image-0000/phase-0/tile-00000", "2.00", "1.00", " " * 20 + "█" * 10),
        ("right", "image-0000/phase-0/tile-00001", "2.00", "2.00", " " * 20 + "█" * 20),
    ]


def test_no_runs_make_no_timeline() -> None:
    assert list(timeline([])) == []


def test_nothing_is_foretold_before_the_first_run(plan: RenderPlan) -> None:
    assert remaining_s(plan, set(), []) is None


def test_a_finished_plan_has_no_time_left(plan: RenderPlan) -> None:
    keys = {work.key(plan) for group in work_of(plan) for work in group}

    assert remaining_s(plan, keys, [run("image-0000/base")]) == 0.0


def test_what_is_stored_from_another_job_leaves_nothing_to_foretell(plan: RenderPlan) -> None:
    assert remaining_s(plan, {work.key(plan) for group in work_of(plan) for work in group}, []) == 0


def test_hundreds_of_tiles_are_not_foretold_from_what_came_before_them(plan: RenderPlan) -> None:
    groups = list(work_of(plan))
    done = {work.key(plan) for group in groups[:2] for work in group}
    before = [run("image-0000/base", seconds=3.0), run("image-0000/prepared", seconds=20.0)]

    assert remaining_s(plan, done, before) is None
    assert remaining_s(plan, done, [*before, run("image-0000/phase-0/tile-00000")]) is not None


def test_cores_are_not_foretold_from_tiles(plan: RenderPlan) -> None:
    groups = list(work_of(plan))
    until_cores = [group for group in groups if group[0].stage not in (Stage.CORE, Stage.PICTURE)]
    done = {work.key(plan) for group in until_cores for work in group}
    tile, core = run("image-0000/phase-0/tile-00000"), run("image-0000/core-00000", seconds=9.0)

    assert remaining_s(plan, done, [tile]) is None
    assert remaining_s(plan, done, [tile, core]) == 9.0 * sum(
        len(group) for group in groups if group[0].stage is Stage.CORE
    )


def test_a_picture_that_is_there_needs_nothing_that_was_removed_since(plan: RenderPlan) -> None:
    assert remaining_s(plan, {Work(Stage.PICTURE, 0).key(plan)}, []) == 0.0


def test_each_stage_is_expected_at_its_own_pace_over_the_workers_seen(plan: RenderPlan) -> None:
    groups = list(work_of(plan))
    done = {work.key(plan) for group in groups[:2] for work in group}
    first_tile = groups[2][0].key(plan)
    runs = [
        run("image-0000/base", "left", seconds=3.0),
        run("image-0000/phase-0/tile-00000", "right", seconds=1.0),
    ]

    left_s = remaining_s(plan, done | {first_tile}, runs)

    tiles_left = sum(len(group) for group in groups if group[0].stage is Stage.TILE) - 1
    cores_left = sum(len(group) for group in groups if group[0].stage is Stage.CORE)
    assert left_s == (tiles_left * 1.0 + cores_left * 1.0) / 2
