from dataclasses import replace

import pytest

from app.domain.errors import StorageUnavailableError
from app.domain.spec import Priority
from app.domain.work import Stage, Work
from app.scheduling.job import Flight, OpenJob
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan as plan_of
from tests.unit.scheduling.jobs import (
    BATCH,
    ENTRY,
    OUR_STAGES,
    PLAN,
    before_tiles,
    groups_of,
    opened,
    take,
    write,
)


@pytest.fixture
def tiled():
    return opened(PLAN, *before_tiles(PLAN))


def test_a_new_job_begins_with_its_first_stage():
    job, _ = opened(PLAN)

    assert list(job.ready()) == [Work(Stage.BASE, 0)]
    assert job.ready_stages() == [Stage.BASE]


def test_the_stage_after_the_blobs_that_exist_is_ready(tiled):
    job, _ = tiled

    assert [work.index for work in job.ready()] == list(range(9))
    assert (job.ready_units, job.pending_units) == (9, 9)


def test_a_picture_is_open_where_it_has_tiles_or_is_being_opened():
    job, _ = opened(BATCH, *groups_of(BATCH, 3, Stage.BASE, Stage.PREPARE))
    assert job.open_images("gpu", OUR_STAGES) == {3}

    take(job, 2, [Stage.BASE])

    assert job.open_images("gpu", OUR_STAGES) == {0, 1, 3}
    assert job.open_images("other", [Stage.BASE]) == set()


def test_what_is_taken_flies_and_is_not_taken_again(tiled):
    job, _ = tiled

    first, second = take(job, 4), take(job)

    assert len(first) == 4
    assert sorted(first + second) == [Work(Stage.TILE, 0, 0, index) for index in range(9)]
    assert set(job.flying) == {*first, *second}
    assert take(job) == []


def test_of_many_pictures_a_group_is_open_at_a_time():
    job, store = opened(BATCH, *before_tiles(BATCH), group=2)

    assert {work.image for work in job.ready()} == {0, 1}

    write(store, BATCH, [Work(Stage.PICTURE, 0)])
    job.refresh(store, [0], 1.0)

    assert {work.image for work in job.ready()} == {1, 2}


def test_a_job_read_anew_opens_the_first_unfinished_pictures():
    pictures = [Work(Stage.PICTURE, image) for image in (0, 2)]
    job, _ = opened(BATCH, *pictures, group=2)

    assert {work.image for work in job.ready()} == {1, 3}


def test_a_job_with_all_its_pictures_is_complete():
    job, store = opened(BATCH, *[Work(Stage.PICTURE, image) for image in range(4)], group=2)
    assert not job.is_complete

    write(store, BATCH, [Work(Stage.PICTURE, 4)])
    job.refresh(store, [4], 1.0)

    assert job.is_complete
    assert job.left() == []


def test_a_stage_whose_last_unit_is_done_waits_for_the_control_worker(tiled):
    job, store = tiled
    for work in take(job):
        job.done(work, 7.0)

    assert (job.control_since, job.ready_units) == ({0: 7.0}, 0)

    write(store, PLAN, groups_of(PLAN, 0, Stage.TILE, Stage.MERGE))
    job.refresh(store, [0], 8.0)

    assert job.control_since == {}
    assert job.ready_stages() == [Stage.HEAD]


class CountedStore(MemoryStore):
    """Counts its listings."""

    listings = 0

    def keys(self, prefix):
        self.listings += 1
        return super().keys(prefix)


def merging(*, heard):
    """A job whose first phase is in the store, and of whose tiles it has *heard* so many."""
    store = CountedStore()
    write(store, PLAN, before_tiles(PLAN))
    job = OpenJob(ENTRY, PLAN, 100)
    job.load(store, 0.0)
    tiles = take(job)
    write(store, PLAN, [*tiles, Work(Stage.MERGE, 0)])
    for work in tiles[:heard]:
        job.done(work, 1.0)
    store.listings = 0
    return job, store


def test_what_the_control_worker_says_it_did_needs_no_listing():
    job, store = merging(heard=9)

    job.refresh(store, [0], 2.0, [Work(Stage.MERGE, 0)])

    assert {(work.stage, work.phase) for work in job.ready()} == {(Stage.TILE, 1)}
    assert (store.listings, job.control_since, job.flying) == (0, {}, {})


@pytest.mark.parametrize(
    ("heard", "done"),
    [
        pytest.param(8, [Work(Stage.MERGE, 0)], id="an event was lost"),
        pytest.param(9, [], id="nothing was done"),
        pytest.param(9, [Work(Stage.MERGE, 1)], id="of another image"),
        pytest.param(9, [Work(Stage.MERGE, 0, phase=7)], id="of another plan"),
    ],
)
def test_what_does_not_follow_from_that_is_read(heard, done):
    job, store = merging(heard=heard)

    job.refresh(store, [0], 2.0, done)

    assert {(work.stage, work.phase) for work in job.ready()} == {(Stage.TILE, 1)}
    assert store.listings
    assert job.flying == {}


def test_a_picture_that_was_assembled_closes_its_image():
    job, store = opened(BATCH, *before_tiles(BATCH), group=2)

    job.refresh(store, [0], 1.0, [Work(Stage.PICTURE, 0)])

    assert {work.image for work in job.ready()} == {1, 2}


def test_a_stage_without_a_merge_is_followed_at_once():
    job, _ = opened(PLAN, Work(Stage.BASE, 0))

    job.done(*take(job), 1.0)

    assert job.ready_stages() == [Stage.TILE]


def test_a_unit_that_another_job_of_the_plan_has_rendered_is_not_sent(tiled):
    job, _ = tiled

    job.done(Work(Stage.TILE, 0, 0, 3), 1.0)

    assert [work.index for work in take(job)] == [0, 1, 2, 4, 5, 6, 7, 8]


def test_the_same_unit_done_twice_changes_nothing(tiled):
    job, _ = tiled
    work = take(job, 1)[0]

    assert job.done(work, 1.0) == Flight("gpu", 0.0)
    assert job.done(work, 2.0) is None
    assert job.pending_units == 8


def test_a_unit_whose_blob_was_removed_is_ready_again(tiled):
    job, store = tiled
    units = take(job)
    write(store, PLAN, units)
    for work in units:
        job.done(work, 1.0)

    store.delete(units[3].key(PLAN))
    job.refresh(store, [0], 2.0)

    assert list(job.ready()) == [units[3]]
    assert job.control_since == {}


def test_units_given_back_are_the_next_to_be_taken(tiled):
    job, _ = tiled
    first = take(job, 3)

    job.give_back(first)

    assert take(job, 3) == first


def test_a_unit_that_was_done_meanwhile_is_not_given_back(tiled):
    job, _ = tiled
    units = take(job, 3)
    job.done(units[0], 1.0)

    job.give_back(units)

    assert take(job, 3)[0] == units[1]


def test_a_unit_of_a_stage_that_is_over_is_not_given_back(tiled):
    job, store = tiled
    units = take(job)
    write(store, PLAN, groups_of(PLAN, 0, Stage.TILE, Stage.MERGE))
    job.load(store, 1.0)

    job.give_back(units)

    assert list(job.ready()) == [Work(Stage.HEAD, 0)]
    assert set(job.flying) == set()


def test_what_a_node_works_on_is_not_taken(tiled):
    job, _ = tiled
    held = Work(Stage.TILE, 0, 0, 0)

    job.adopt(held, Flight("gpu", 0.0))
    job.adopt(Work(Stage.CORE, 0, 0, 0), Flight("gpu", 0.0))

    assert held not in take(job)
    assert list(job.flying).count(held) == 1
    assert Work(Stage.CORE, 0, 0, 0) not in job.flying


def test_the_longest_units_are_taken_first_across_pictures():
    plan = plan_of(height=1096, width=1096, count=2, upscale=1)
    cores = [plan.decode.cores[index].area for index in range(len(plan.decode.cores))]
    assert len(set(cores)) > 1, "cores of several sizes"
    done = [*before_tiles(plan)]
    for image in (0, 1):
        done += groups_of(plan, image, Stage.TILE, Stage.MERGE, Stage.HEAD)
    job, _ = opened(plan, *done)

    taken = take(job)

    areas = [plan.decode.cores[work.index].area for work in taken]
    assert areas == sorted(areas, reverse=True)
    assert [work.image for work in taken if cores[work.index] == max(cores)] == sorted(
        work.image for work in taken if cores[work.index] == max(cores)
    )


def test_units_of_two_stages_never_share_a_slice():
    done = [*groups_of(BATCH, 0, Stage.BASE), *groups_of(BATCH, 1, Stage.BASE, Stage.PREPARE)]
    job, _ = opened(BATCH, *done, group=2)

    assert job.ready_stages() == [Stage.PREPARE, Stage.TILE]
    assert [work.stage for work in take(job)] == [Stage.PREPARE]


def test_only_stages_that_are_asked_for_are_taken():
    done = [*groups_of(BATCH, 0, Stage.BASE), *groups_of(BATCH, 1, Stage.BASE, Stage.PREPARE)]
    job, _ = opened(BATCH, *done, group=2)

    assert take(job, stages=[Stage.TILE]) == [Work(Stage.TILE, 1)]
    assert take(job, stages=[Stage.CORE]) == []


def test_what_is_left_is_counted_stage_by_stage_for_all_pictures():
    job, _ = opened(PLAN, Work(Stage.BASE, 0))
    take(job)

    assert [(work.stage, count) for work, count in job.left()] == [
        (Stage.PREPARE, 1),
        *[(Stage.TILE, 9)] * len(PLAN.phases),
        (Stage.HEAD, 1),
        (Stage.CORE, 4),
    ]


def test_pictures_that_are_not_open_are_left_too():
    job, _ = opened(BATCH, *before_tiles(BATCH), Work(Stage.PICTURE, 4), group=2)

    assert {work.stage: count for work, count in job.left()}[Stage.TILE] == 4


def test_how_a_job_stands_in_line_is_in_seconds():
    waiting = OpenJob(replace(ENTRY, is_paused=True), PLAN, 1).waiting(7.0)

    assert (waiting.job_id, waiting.tenant, waiting.priority) == ("job", "studio", Priority.HIGH)
    assert (waiting.accepted_s, waiting.deadline_s, waiting.waited_s) == (5.0, 9.0, 7.0)


def test_a_picture_whose_blobs_cannot_be_listed_now_is_opened_later(monkeypatch):
    job, store = opened(BATCH, group=2)
    write(store, BATCH, [Work(Stage.PICTURE, 0)])
    keys = store.keys

    def away(prefix):
        if "image-0002" in prefix:
            raise StorageUnavailableError("store m does not answer")
        return keys(prefix)

    monkeypatch.setattr(store, "keys", away)
    with pytest.raises(StorageUnavailableError):
        job.refresh(store, [0], 1.0)
    monkeypatch.undo()
    job.refresh(store, [], 2.0)

    assert sorted({work.image for work in job.ready()}) == [1, 2]
