"""What is learned of the control workers' steps, and how jobs' ends are predicted with it."""

import pytest

from app.domain.errors import StorageUnavailableError
from app.domain.work import WORKER_STAGES, Stage, Work, image_work
from app.nodes import NodeRecord
from app.scheduling.duration import step_s
from app.scheduling.forecast import Forecast, read_predictor
from app.scheduling.job import OpenJob
from app.storage.memory import MemoryStore
from tests.unit.domain.cards import plan as plan_of
from tests.unit.scheduling.jobs import ENTRY, before_tiles, groups_of, opened
from tests.unit.scheduling.scene import SMALL

MERGE, LATER_MERGE = Work(Stage.MERGE, 0), Work(Stage.MERGE, 0, phase=1)
PICTURE = Work(Stage.PICTURE, 0)
PLAN = plan_of(**SMALL)
ONE_TILE = {"height": 512, "width": 512}
ALONE = NodeRecord(node="w1@host", pid=1, pool="gpu", device="cpu")
BEFORE_PICTURE = (Stage.TILE, Stage.MERGE, Stage.HEAD, Stage.CORE)


def render(scene, plan, stage, image=0, phase=0, job_id="job"):
    """Hear that the last unit of a stage was rendered."""
    scene.round()
    for group in image_work(plan, image):
        if (group[0].stage, group[0].phase) == (stage, phase):
            for work in group:
                scene.rendered(job_id, plan, work)
    scene.round()


def move_on(scene, plan, *steps, after_s=2.0, images=None, job_id="job"):
    """Hear that a control worker has done *steps*."""
    scene.hand.now_s += after_s
    for work in steps:
        scene.store.put(work.key(plan), b"{}")
    images = sorted({work.image for work in steps}) if images is None else images
    done = [[work.stage, work.image, work.phase] for work in steps]
    scene.told.append({"kind": "job", "job_id": job_id, "images": images, "done": done})
    scene.round()


def end(scene, plan, *, after_s=3.0, name="result.json", job_id="job"):
    """Hear that a job has ended."""
    scene.hand.now_s += after_s
    scene.store.put(f"jobs/{job_id}/{name}", b"{}")
    scene.runtime.entries.close(job_id)
    scene.told.append({"kind": "ended", "job_id": job_id})
    scene.round()


def learned_s(scene, plan, work):
    """What the next dispatcher will expect of a step."""
    scene.dispatcher._forecast.save(round(scene.hand.now_s))
    return step_s(plan, work, read_predictor(scene.store))


def forecast(**seconds):
    """One that has seen units take two seconds, and every step what is given by its stage."""
    found = Forecast(MemoryStore())
    for group in image_work(PLAN, 0):
        if group[0].stage in WORKER_STAGES:
            for work in group:
                event = {"status": "rendered", "seconds": 2.0, "device": "cpu"}
                found.observe(PLAN, work, event)
        elif group[0].stage in seconds:
            found.observe_steps(PLAN, {group[0]: seconds[group[0].stage]})
    return found


def test_a_step_takes_from_the_last_unit_before_it_until_it_is_told_of(scene):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)
    scene.round(0.5)

    move_on(scene, plan, MERGE, after_s=1.5)

    assert learned_s(scene, plan, MERGE) == pytest.approx(2.0)
    assert learned_s(scene, plan, PICTURE) == 0


def test_the_last_step_of_a_job_takes_until_its_result_is_there(scene):
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    render(scene, plan, Stage.CORE)

    end(scene, plan, after_s=3.0)

    assert learned_s(scene, plan, PICTURE) == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["failure.json", "cancelled.json"])
def test_a_job_that_ended_otherwise_teaches_nothing(scene, name):
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    render(scene, plan, Stage.CORE)

    end(scene, plan, name=name)

    assert learned_s(scene, plan, PICTURE) == 0


def test_a_result_that_other_pictures_were_waited_for_teaches_nothing(scene):
    plan = scene.accept(count=2)
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    render(scene, plan, Stage.CORE)

    end(scene, plan)

    assert learned_s(scene, plan, PICTURE) == 0


def test_a_step_whose_begin_nobody_heard_of_teaches_nothing(scene):
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE)
    scene.round()

    move_on(scene, plan, MERGE)

    assert learned_s(scene, plan, MERGE) == 0


def test_a_step_that_was_found_before_it_was_heard_of_teaches_nothing(scene):
    plan = scene.accept()
    scene.round()
    scene.finish(plan, 0, Stage.TILE)
    scene.round(6.0)
    scene.hand.now_s += 1.0
    render(scene, plan, Stage.TILE)

    move_on(scene, plan, MERGE)

    assert learned_s(scene, plan, MERGE) == 0


def test_a_result_that_came_before_the_last_step_teaches_nothing(scene):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)

    end(scene, plan)

    assert learned_s(scene, plan, MERGE) == 0


def test_the_last_of_several_pictures_tells_the_last_step(scene):
    plan = scene.accept(count=2)
    for image in (0, 1):
        scene.finish(plan, image, Stage.TILE, Stage.MERGE, Stage.HEAD)
    render(scene, plan, Stage.CORE, 0)
    move_on(scene, plan, PICTURE, after_s=3.0)
    render(scene, plan, Stage.CORE, 1)

    end(scene, plan, after_s=12.0)

    assert learned_s(scene, plan, PICTURE) == pytest.approx(6.0, rel=0.3)  # of 3 and 12 s


def test_a_step_that_had_to_be_asked_for_again_teaches_nothing(scene):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)
    scene.round(31.0)
    assert scene.publisher.advances == [("job", [0])]

    move_on(scene, plan, MERGE)

    assert learned_s(scene, plan, MERGE) == 0


def test_a_step_that_waited_for_another_jobs_teaches_nothing(scene):
    plans = {job_id: scene.accept(job_id, prompt=job_id) for job_id in ("before", "after")}
    for job_id, plan in plans.items():
        render(scene, plan, Stage.TILE, job_id=job_id)
    move_on(scene, plans["before"], MERGE, after_s=20.0, job_id="before")

    move_on(scene, plans["after"], MERGE, after_s=1.0, job_id="after")

    assert learned_s(scene, plans["after"], MERGE) == pytest.approx(20.0)


@pytest.mark.parametrize("kind", ["job", "ended"])
def test_a_step_that_waited_for_the_plan_of_another_job_teaches_nothing(scene, kind):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)
    scene.told.append({"kind": kind, "job_id": "new"})
    scene.round(20.0)

    move_on(scene, plan, MERGE)

    assert learned_s(scene, plan, MERGE) == 0


def test_a_message_that_found_nothing_to_do_keeps_no_step_waiting(scene):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)
    move_on(scene, plan, images=[0], after_s=0.5)

    move_on(scene, plan, MERGE, after_s=1.5)

    assert learned_s(scene, plan, MERGE) == pytest.approx(2.0)


def test_pictures_that_one_message_merges_share_its_time(scene):
    plan = scene.accept(count=2, **ONE_TILE)
    for image in (0, 1):
        render(scene, plan, Stage.TILE, image)

    move_on(scene, plan, *(Work(Stage.MERGE, image) for image in (0, 1)), after_s=6.0)

    assert learned_s(scene, plan, MERGE) == pytest.approx(3.0)


def test_a_message_that_waited_for_another_picture_teaches_nothing(scene):
    plan = scene.accept(count=2, **ONE_TILE)
    render(scene, plan, Stage.TILE)

    move_on(scene, plan, MERGE, images=[0, 1], after_s=6.0)

    assert learned_s(scene, plan, MERGE) == 0


def test_a_step_that_is_heard_of_while_the_store_refuses_teaches_nothing(scene, monkeypatch):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)
    refresh = OpenJob.refresh

    def away(*args):
        monkeypatch.setattr(OpenJob, "refresh", refresh)
        raise StorageUnavailableError("store m does not answer")

    monkeypatch.setattr(OpenJob, "refresh", away)
    move_on(scene, plan, MERGE)
    scene.round(60.0)

    assert learned_s(scene, plan, MERGE) == 0
    assert {(unit.stage, unit.phase) for unit in scene.publisher.units()} == {
        (Stage.TILE, 0),
        (Stage.TILE, 1),
    }


def test_begin_and_end_of_a_step_heard_at_once_are_no_time_at_all(scene):
    plan = scene.accept()
    render(scene, plan, Stage.TILE)

    move_on(scene, plan, MERGE, after_s=0.0)

    assert learned_s(scene, plan, MERGE) == pytest.approx(0.01)


def test_what_was_learned_of_steps_alone_is_kept():
    store = MemoryStore()
    found = Forecast(store)
    found.observe_steps(PLAN, {PICTURE: 4.0})

    found.save(1)

    assert step_s(PLAN, PICTURE, read_predictor(store)) == pytest.approx(4.0)


def test_of_another_size_a_step_takes_between_the_same_and_in_proportion():
    found = forecast(merge=1.0, picture=2.0)
    found.save(1)
    larger = plan_of(height=4096, width=4096)  # 121 tiles for 9, 16 times the pixels

    predictor = read_predictor(found._store)

    assert step_s(larger, MERGE, predictor) == pytest.approx((121 / 9) ** 0.75)
    assert step_s(larger, PICTURE, predictor) == pytest.approx(8.0)


def test_steps_that_are_left_put_off_the_end():
    job, _ = opened(PLAN, *before_tiles(PLAN))
    rendered_s = forecast().eta_s(job, [ALONE], 0.0, 0.0)

    eta_s = forecast(merge=1.5, picture=4.0).eta_s(job, [ALONE], 0.0, 0.0)

    assert rendered_s == pytest.approx(forecast().left_s(job))
    assert eta_s == pytest.approx(rendered_s + 1.5 + 1.5 + 4.0)


def test_nothing_is_added_for_steps_that_were_never_seen():
    job, _ = opened(PLAN)

    assert Forecast(MemoryStore()).eta_s(job, [ALONE], 0.0, 0.0) == pytest.approx(1 + 1 + 23)


def test_a_step_in_work_counts_with_what_is_left_of_it():
    job, _ = opened(PLAN, *before_tiles(PLAN), *groups_of(PLAN, 0, *BEFORE_PICTURE))
    found = forecast(picture=5.0)
    job.control_since[0] = 100.0

    def left_s(now_s):
        return found.eta_s(job, [ALONE], 0.0, now_s) - found.left_s(job)

    assert left_s(100.0) == pytest.approx(5.0)
    assert left_s(102.0) == pytest.approx(3.0)
    assert left_s(160.0) == pytest.approx(0.0)
    job.asked_s[0] = 160.0  # done by somebody else from then on
    assert left_s(161.0) == pytest.approx(4.0)


def test_an_end_that_needs_no_worker_is_known_without_any():
    job, _ = opened(PLAN, *before_tiles(PLAN), *groups_of(PLAN, 0, *BEFORE_PICTURE))

    assert forecast(picture=4.0).eta_s(job, [], 0.0, 0.0) == pytest.approx(4.0)


def thousand(group, *stages):
    """A job of so many pictures of one tile, the first of which has its tile, and *stages*."""
    plan = plan_of(count=1000, **ONE_TILE)
    store = MemoryStore()
    for work in groups_of(plan, 0, Stage.BASE, Stage.PREPARE, Stage.TILE, *stages):
        store.put(work.key(plan), b"{}")
    job = OpenJob(ENTRY, plan, group)
    job.load(store, 0.0)
    return job


def test_of_many_pictures_the_steps_of_the_last_one_are_waited_for():
    assert thousand(100).control_left() == [(MERGE, 1), (PICTURE, 1)]


def test_steps_that_every_picture_has_behind_it_are_not_waited_for():
    job, _ = opened(PLAN, *before_tiles(PLAN), *groups_of(PLAN, 0, Stage.TILE, Stage.MERGE))

    assert job.control_left() == [(PICTURE, 1)]


def test_pictures_one_by_one_are_each_waited_for():
    assert thousand(1, Stage.MERGE).control_left() == [(MERGE, 999), (PICTURE, 1000)]


@pytest.mark.parametrize("group", [1, 100])
def test_what_the_first_picture_has_waited_says_nothing_of_the_last(group):
    job = thousand(group)

    assert job.control_since == {0: 0.0}
    assert job.waited_s(50.0) == 0


def test_a_complete_job_waits_for_no_step():
    job, _ = opened(PLAN, PICTURE)

    assert (job.control_left(), job.waited_s(5.0)) == ([], 0)


def test_people_are_shown_an_end_that_counts_the_steps(scene):
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    render(scene, plan, Stage.CORE)
    end(scene, plan, after_s=30.0)
    following = scene.accept("next")
    scene.finish(following, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    scene.told.append({"kind": "job", "job_id": "next"})

    render(scene, following, Stage.CORE, job_id="next")
    scene.round(2.0)

    assert scene.board.shown("schedule")["next"]["eta_s"] == pytest.approx(28.0)
