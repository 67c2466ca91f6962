import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.scheduling.slices import longest_first
from app.domain.spec import Mode
from app.domain.work import (
    WORKER_STAGES,
    Run,
    Stage,
    Work,
    image_work,
    next_of_image,
    next_work,
    plan_prefix,
    progress,
    series_prefix,
    unit_name,
    waits_for_workers,
    work_of,
)
from app.scheduling.shapes import size_of
from tests.unit.domain.cards import plan

RENDER = plan(height=1024, width=1024, count=2)
GROUPS = list(work_of(RENDER))


def keys_of(groups) -> set[str]:
    return {work.key(RENDER) for group in groups for work in group}


def test_stages_come_in_the_order_of_the_design():
    assert [group[0].stage for group in GROUPS] == [
        Stage.BASE,
        Stage.PREPARE,
        *[Stage.TILE, Stage.MERGE] * len(RENDER.phases),
        Stage.HEAD,
        Stage.CORE,
        Stage.PICTURE,
    ]


def test_one_core_needs_no_head():
    stages = [group[0].stage for group in work_of(plan(height=512, width=512, mode=Mode.DIRECT))]

    assert Stage.HEAD not in stages


def test_every_unit_has_a_key_of_its_own():
    units = [work for group in GROUPS for work in group]

    assert len({work.key(RENDER) for work in units}) == len(units)


def test_a_picture_lies_under_its_plans_hash_and_what_it_is_made_from_under_the_series():
    units = [work for group in GROUPS for work in group]

    for work in units:
        is_picture = work.stage is Stage.PICTURE
        prefix = plan_prefix(RENDER) if is_picture else series_prefix(RENDER)
        assert work.key(RENDER).startswith(prefix)


def test_a_unit_is_named_alike_wherever_it_lies():
    assert unit_name(RENDER, Work(Stage.CORE, 1, index=3)) == "image-0001/core-00003"
    assert unit_name(RENDER, Work(Stage.PICTURE, 1)) == "image-0001/picture.png"


@given(st.data())
def test_what_is_next_are_the_missing_members_of_the_first_unfinished_stage(data):
    number = data.draw(st.integers(0, len(GROUPS) - 1))
    group = GROUPS[number]
    done = data.draw(st.sets(st.sampled_from(group), max_size=len(group) - 1))

    missing = next_work(RENDER, keys_of(GROUPS[:number]) | keys_of([done]))

    assert set(missing) == set(group) - done


def test_nothing_is_next_when_every_picture_is_there():
    assert next_work(RENDER, keys_of(GROUPS[-1:])) == ()


def test_a_finished_picture_needs_none_of_its_intermediate_blobs():
    first_picture = Work(Stage.PICTURE, 0).key(RENDER)

    assert next_work(RENDER, {first_picture}) == (Work(Stage.BASE, 1),)


def stored(*works):
    """Whether a unit is stored, asked of those in *works*."""
    return set(works).__contains__


UNEQUAL = plan(height=5000, width=5000)
"""Its last core is one of the largest."""


@st.composite
def in_work(draw, render):
    """Units of an image that are done: whole groups, and of some more any."""
    groups = list(image_work(render, 0))
    whole = draw(st.integers(0, len(groups)))
    done = {work for group in groups[:whole] for work in group}
    return done | draw(st.sets(st.sampled_from([work for group in groups for work in group])))


@given(in_work(RENDER))
def test_who_waits_for_workers_has_nothing_to_merge_or_to_assemble(works):
    if waits_for_workers(RENDER, 0, stored(*works)):
        missing = next_of_image(RENDER, 0, {work.key(RENDER) for work in works})
        assert missing[0].stage in WORKER_STAGES


@pytest.mark.parametrize("render", [RENDER, UNEQUAL], ids=["equal", "unequal"])
def test_the_unit_sent_last_of_each_group_tells_whether_workers_are_waited_for(render):
    groups = list(image_work(render, 0))

    for number, group in enumerate(groups):
        before = [work for one in groups[:number] for work in one]
        *sent_first, _ = longest_first(group, lambda work: size_of(render, work))
        is_theirs = group[0].stage in WORKER_STAGES
        assert waits_for_workers(render, 0, stored(*before)) == is_theirs
        assert waits_for_workers(render, 0, stored(*before, *sent_first)) == is_theirs
    assert not waits_for_workers(render, 0, stored(Work(Stage.PICTURE, 0)))


def test_the_last_core_of_this_picture_is_not_sent_last():
    cores = UNEQUAL.decode.cores
    assert cores[-1].area > min(core.area for core in cores)


def test_progress_counts_units_and_names_the_stage():
    done = progress(RENDER, keys_of(GROUPS[:2]))

    assert (done.done, done.stage) == (4, Stage.TILE)
    assert done.total == sum(len(group) for group in GROUPS)


@pytest.mark.parametrize(
    ("unit", "stage"),
    [
        ("image-0000/base", Stage.BASE),
        ("image-0000/prepared", Stage.PREPARE),
        ("image-0001/phase-0/tile-00007", Stage.TILE),
        ("image-0000/head", Stage.HEAD),
        ("image-0000/core-00012", Stage.CORE),
    ],
)
def test_a_run_survives_being_a_key(unit, stage):
    run = Run(unit, "gpu1-host.example", 1_700_000_000_123, 1.25)

    read = Run.parse(RENDER, run.key(RENDER))

    assert read == run
    assert read.stage is stage
