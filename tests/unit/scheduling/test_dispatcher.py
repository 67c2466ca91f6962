"""What the dispatcher does about jobs that are new, lost on the way, complete or not its own."""

import json
from unittest.mock import Mock

import pytest

from app.domain.errors import BrokerUnavailableError, NotFoundError
from app.domain.prediction import DEFAULT_S
from app.domain.spec import Priority
from app.domain.work import Stage, Work
from app.entries import Entries
from app.jobs import JobState
from tests.unit.domain.cards import plan as plan_of
from tests.unit.scheduling.scene import TILES, short_queue, tiles


def sent(scene, after_s=0.0, times=1):
    return [work for one in scene.round(after_s, times=times) for work in one.units]


def test_a_job_that_is_told_of_is_served_in_the_same_round(scene):
    scene.round()
    scene.accept()
    scene.told.append({"kind": "job", "job_id": "job"})

    assert sent(scene, 0.01)


def test_a_job_that_nobody_told_of_is_found_in_the_store(scene):
    scene.round()
    scene.accept()

    assert sent(scene, 0.01) == []
    assert sent(scene, 0.6)


def test_another_dispatcher_goes_on_where_the_last_one_was(scene):
    plan = scene.accept()
    first = sent(scene)
    for work in first:
        scene.store.put(work.key(plan), b"{}")
    scene.dispatcher = scene.another()

    again = sent(scene)

    assert not set(first) & set(again)


def test_a_dispatcher_that_only_serves_what_it_is_told_leaves_others_alone(scene):
    scene.accept("theirs")
    scene.accept("mine")
    scene.dispatcher = scene.another(is_adopting=False)
    scene.told.append({"kind": "job", "job_id": "mine"})

    assert {one.job_id for one in scene.round()} == {"mine"}


@pytest.mark.parametrize(
    "done",
    [
        None,
        7,
        [
            ["merge", 0, 0],
            ["sing", 0, 0],
            ["tile"],
            ["tile", 0, 0],
            None,
            ["merge", "0", 0],
            ["merge", 9, 9],
        ],
    ],
)
def test_what_a_control_worker_of_another_version_tells_is_looked_up(scene, listings, done):
    plan = scene.accept()
    first = sent(scene)
    for work in first:
        scene.store.put(work.key(plan), b"{}")
    found = listings(scene)
    told = {"kind": "job", "job_id": "job", "images": [0]}
    scene.told.append(told if done is None else told | {"done": done})

    following = sent(scene, 0.3)

    assert image_of(found) == {"image-0000"}
    assert {work.stage for work in following} == {Stage.TILE}
    assert not set(first) & set(following)


@pytest.fixture
def listings(monkeypatch):
    """Prefixes that are listed in the store of a scene from now on."""

    def watch(scene):
        found, keys = [], scene.store.keys
        listed = lambda prefix: found.append(prefix) or keys(prefix)  # noqa: E731
        monkeypatch.setattr(scene.store, "keys", listed)
        return found

    return watch


def image_of(listed):
    """Images whose blobs are *listed*."""
    return {part for prefix in listed for part in prefix.split("/") if part.startswith("image-")}


def nothing_done(scene, *images):
    """What is listed when a control worker tells that it found nothing to merge for *images*."""
    told = {"kind": "job", "job_id": "job", "images": list(images), "done": []}
    scene.told.append(told)
    scene.round(0.01)


def test_the_end_of_a_slice_is_not_looked_up_while_there_are_units_to_send(listings):
    scene = short_queue()
    scene.accept()
    assert 0 < len(sent(scene)) < TILES
    found = listings(scene)

    nothing_done(scene, 0)

    assert image_of(found) == set()


@pytest.mark.parametrize("heard", [4, TILES])
def test_it_is_looked_up_when_all_are_sent(scene, listings, heard):
    plan = scene.accept()
    units = sent(scene)
    while len(units) < TILES:
        units += sent(scene, 0.1)
    for work in units[:heard]:
        scene.rendered("job", plan, work)
    scene.round(0.01)
    found = listings(scene)

    nothing_done(scene, 0)

    assert image_of(found) == {"image-0000"}


def test_of_several_pictures_those_are_looked_up_that_have_nothing_to_send(listings):
    scene = short_queue()
    scene.accept(count=2)
    units = sent(scene)
    while len({work.image for work in units}) < 2:
        scene.publisher.ready["gpu"] = 0
        units += sent(scene, 1.0)
    found = listings(scene)

    nothing_done(scene, 0, 1)

    assert image_of(found) == {"image-0000"}


def test_a_job_that_ended_is_served_no_more(scene):
    scene.accept()
    sent(scene)
    scene.told.append({"kind": "ended", "job_id": "job"})
    scene.runtime.entries.close("job")

    scene.publisher.ready["gpu"] = 0
    assert sent(scene, 1.0, times=5) == []


def test_a_cancelled_job_whose_client_died_is_ended(scene):
    scene.accept()
    sent(scene)
    scene.runtime.ledger.cancel("job")

    scene.round(6.0, times=2)

    assert scene.runtime.entries.all() == []
    assert scene.runtime.ledger.status("job").state is JobState.CANCELLED


def test_a_unit_that_failed_for_good_ends_its_job_and_no_other(scene):
    plan = scene.accept("bad")
    scene.accept("good")
    (work, *_) = sent(scene)
    scene.runtime.ledger.fail("bad", "tile 0 of image 0: no memory")
    scene.rendered("bad", plan, work, status="failed")

    scene.round(1.0, times=3)

    assert [entry.job_id for entry in scene.runtime.entries.all()] == ["good"]
    assert {one.job_id for one in scene.round(1.0)} <= {"good"}


def test_a_unit_that_was_handed_back_is_ready_again(scene):
    plan = scene.accept()
    first = sent(scene)
    scene.publisher.ready["gpu"] = len(first)

    scene.rendered("job", plan, first[0], status="returned")
    scene.publisher.ready["gpu"] = 0

    assert first[0] in sent(scene, 0.3)


def test_a_unit_that_moved_to_a_bigger_pool_keeps_the_class_it_was_sent_with(scene):
    scene.with_settings(bigger_pool={"gpu": "big"})
    plan = scene.accept(priority=Priority.LOW)
    (work, *_) = sent(scene)

    scene.rendered("job", plan, work, status="moved")
    scene.round(0.1)

    (job,) = scene.dispatcher._line
    assert (job.flying[work].pool, job.flying[work].level) == ("big", Priority.LOW)


def test_an_event_of_another_version_is_no_harm(scene):
    scene.accept()
    scene.told += [{"kind": "unit", "job_id": "job", "colour": 3}, {"kind": "new"}, {}]

    assert sent(scene)


def test_a_damaged_job_fails_and_the_others_are_served(scene):
    scene.accept("good")
    plan = scene.accept("bad", seed=9)
    scene.store.delete("jobs/bad/request.json")
    scene.store.put("jobs/bad/request.json", json.dumps({"prompt": 7}).encode())
    del plan

    assert {one.job_id for one in scene.round()} == {"good"}
    assert scene.runtime.ledger.status("bad").state is JobState.FAILED


def test_what_could_not_be_sent_is_sent_when_the_broker_is_back(scene):
    scene.accept()
    scene.publisher.is_down = True
    with pytest.raises(BrokerUnavailableError):
        scene.round()
    scene.publisher.is_down = False

    assert sent(scene, 0.3)


def test_what_was_learned_is_known_to_the_next_dispatcher(scene):
    plan = scene.accept(priority=Priority.HIGH)
    (work, *_) = sent(scene)
    scene.rendered("job", plan, work, seconds=17.0)
    scene.round(1.0)
    scene.dispatcher.close()

    estimate = scene.another()._forecast.unit(plan, Work(Stage.TILE, 0, 0, 5))

    assert estimate.mean_s == pytest.approx(17.0)


def end(scene, job_id="job"):
    scene.runtime.entries.close(job_id)
    scene.told.append({"kind": "ended", "job_id": job_id})


def tile_s(scene, plan) -> float:
    """How long a tile takes, as learned."""
    return scene.dispatcher._forecast.unit(plan, Work(Stage.TILE, 0, 0, 5)).mean_s


def test_a_run_that_outlives_its_job_is_learned_from(scene):
    plan = scene.accept()
    scene.round()
    end(scene)
    scene.round(1.0)

    scene.rendered("job", plan, Work(Stage.TILE, 0), seconds=17.0)
    scene.round(1.0)

    assert tile_s(scene, plan) == pytest.approx(17.0)


@pytest.mark.parametrize("change", [{"plan_hash": "another"}, {"stage": "unheard of"}])
def test_a_run_that_is_not_of_the_ended_job_s_plan_teaches_nothing(scene, change):
    plan = scene.accept()
    scene.round()
    end(scene)
    scene.rendered("job", plan, Work(Stage.TILE, 0), seconds=17.0, **change)
    scene.round(1.0)

    assert tile_s(scene, plan) == DEFAULT_S


def test_only_the_jobs_that_ended_last_are_remembered(scene):
    jobs = [f"job-{number}" for number in range(101)]
    for job_id in jobs:
        scene.accept(job_id, is_opened=False)
    scene.round()
    for job_id in jobs:
        end(scene, job_id)
        scene.round()

    line = scene.dispatcher._line
    assert [job_id for job_id in jobs if line.ended(job_id)] == jobs[1:]


def test_a_job_that_was_resumed_has_ended_last(scene):
    jobs = [f"job-{number}" for number in range(100)]
    for job_id in [*jobs, jobs[0], "another"]:
        scene.accept(job_id, is_opened=False)
        scene.dispatcher._line.tell(job_id)
        scene.round(0.6)
        end(scene, job_id)
        scene.round()

    line = scene.dispatcher._line
    assert line.ended(jobs[0])
    assert not line.ended(jobs[1])


def test_people_are_shown_place_time_left_and_work_of_every_pool(scene):
    plan = scene.accept("first")
    scene.accept("second")
    scene.node()
    (work, *_) = sent(scene)
    scene.rendered("first", plan, work, seconds=2.0)
    scene.round(1.5)

    shown, pools = scene.board.shown("schedule"), scene.board.shown("pools")

    assert (shown["first"]["position"], shown["second"]["position"]) == (0, 1)
    assert shown["first"]["eta_s"] < shown["second"]["eta_s"]
    assert (pools["gpu"]["workers"], pools["gpu"]["crew"]) == (1, {"cpu": 1})
    assert pools["gpu"]["pending_s"] > TILES * 2.0


def test_people_are_shown_how_long_the_oldest_job_waits_that_is_not_paused(scene):
    for ahead_s, job_id in enumerate(("paused", "first", "second")):
        scene.accept(job_id, ahead_s=ahead_s)
    scene.runtime.entries.pause("paused")
    scene.hand.now_s += 100.0
    scene.round()

    gpu = scene.board.shown("pools")["gpu"]

    assert (gpu["open_jobs"], gpu["oldest_s"]) == (3, 99.0)


def test_the_end_of_all_that_waits_is_shown(scene):
    scene.accept(is_opened=False)
    scene.round(1.5)
    end(scene, "job")
    scene.round(1.5, times=2)

    gpu = scene.board.shown("pools")["gpu"]

    assert (gpu["open_jobs"], gpu["oldest_s"]) == (0, 0.0)


def test_a_line_without_jobs_asks_for_nothing(scene):
    scene.round(1.0, times=3)

    assert (scene.publisher.plans, scene.publisher.advances, scene.publisher.slices) == ([], [], [])
    with pytest.raises(NotFoundError):
        scene.runtime.ledger.status("job")


@pytest.fixture
def listed(scene, monkeypatch):
    """How often the whole line was listed."""
    calls, every = [], Entries.all
    monkeypatch.setattr(Entries, "all", lambda self: calls.append(1) or every(self))
    return calls


def test_the_end_of_a_slice_lists_no_line(scene, listed):
    scene.accept()
    scene.round()
    listed.clear()

    scene.told.append({"kind": "job", "job_id": "job", "images": [0], "done": []})
    scene.round()
    assert listed == []
    scene.told.append({"kind": "job", "job_id": "job"})
    scene.round()
    assert listed == [1]


def test_a_job_that_nobody_knew_is_looked_for_whatever_is_told_of_it(scene, listed):
    scene.round()
    scene.accept()
    scene.told.append({"kind": "job", "job_id": "job", "images": [0], "done": []})

    assert sent(scene)


def test_a_board_that_does_not_answer_once_makes_nobody_forget_what_nodes_taught(
    scene, monkeypatch
):
    plan = scene.accept()
    scene.node()
    (work, *_) = sent(scene)
    scene.rendered("job", plan, work)
    scene.round(1.5)
    monkeypatch.setattr(scene.board, "shown", Mock(side_effect=BrokerUnavailableError("no board")))
    scene.round(1.5)

    assert scene.dispatcher._forecast.knows(plan, work, "w1@a")


def test_the_end_of_a_whole_message_is_told_once(scene):
    plan = scene.accept()
    works = sent(scene)
    scene.publisher.is_down = True
    scene.rendered("job", plan, works[0], status="gone", more=[work.index for work in works[1:]])
    with pytest.raises(BrokerUnavailableError):
        scene.round(0.1)

    assert not set(works) & set(scene.dispatcher._line.get("job").flying)


def test_what_a_worker_has_of_another_plan_is_not_on_its_way(scene):
    scene.accept()
    other = plan_of(height=1024, width=1024, prompt="as it was planned before")
    scene.node(current=("job", other, tiles(TILES)[0]))

    assert tiles(TILES)[0] in sent(scene)


def test_a_job_that_ended_before_it_was_planned_is_not_asked_for(scene):
    scene.submit("job")
    scene.round(1.0, times=14)
    scene.runtime.ledger.fail("job", "no such model")

    scene.round(2.0)

    assert scene.publisher.plans == []


def test_who_takes_the_lead_knows_what_the_one_before_has_learned(scene):
    plan = scene.accept()
    scene.round()
    other = scene.another()
    other._forecast.observe(
        plan, Work(Stage.TILE, 0, 0, 5), {"status": "rendered", "seconds": 7.0, "device": "cpu"}
    )
    other._forecast.save(1)

    scene.dispatcher.forget()

    assert tile_s(scene, plan) == pytest.approx(7.0)
