"""A job whose workers are gone waits for others, and not for ever."""

import pytest

from app.domain.errors import BrokerUnavailableError, StorageUnavailableError
from app.domain.work import Stage, Work
from app.jobs import JobState
from tests.unit.scheduling.scene import Scene

LIMIT_S = 100.0
APART = {"pools": {"control": ["plan.*", "finish.*"], "gpu": ["base.*", "#"], "other": []}}


def scene(**settings):
    return Scene(unserved_limit_s=LIMIT_S, **settings)


def state(scene, job_id="job"):
    return scene.runtime.ledger.status(job_id).state


def wait(scene, seconds):
    """Rounds of a second, in which whoever lives shows it."""
    scene.round(1.0, times=round(seconds))


def wait_beside(scene, seconds, **facts):
    for _ in range(round(seconds)):
        scene.node(**facts)
        scene.round(1.0)


def test_a_job_without_any_worker_ends_with_the_pool_and_the_time():
    here = scene()
    here.accept()

    wait(here, LIMIT_S - 5)
    assert state(here) is JobState.RUNNING
    wait(here, 10)

    assert state(here) is JobState.FAILED
    assert here.runtime.ledger.failure("job") == (
        "job cannot be served: no living worker of pool gpu could take its work for 100 s "
        "(TILECHORD_UNSERVED_LIMIT_S)"
    )
    assert here.runtime.entries.all() == []


def test_a_worker_of_another_pool_is_none():
    here = scene(**APART)
    here.accept()

    wait_beside(here, LIMIT_S + 10, pool="other")

    assert state(here) is JobState.FAILED


def test_a_job_that_a_worker_could_take_waits_for_its_turn():
    here = scene()
    here.accept()

    wait_beside(here, 3 * LIMIT_S)

    assert state(here) is JobState.RUNNING


def test_a_worker_that_came_and_went_starts_the_time_anew():
    here = scene()
    here.accept()
    wait(here, LIMIT_S - 10)
    wait_beside(here, 1)

    wait(here, LIMIT_S - 10)

    assert state(here) is JobState.RUNNING


def test_a_job_that_no_node_of_a_placing_pool_has_the_memory_for_ends(monkeypatch):
    here = scene(placing="resource")
    monkeypatch.setattr("app.scheduling.reach.memory_gb", lambda *_: 10.0)
    here.dispatcher = here.another()
    here.accept()

    wait_beside(here, LIMIT_S + 10, memory_gb=8.0, queue="q")

    assert state(here) is JobState.FAILED


@pytest.mark.parametrize("memory_gb", [12.0, 0.0], ids=["enough", "not known"])
def test_one_that_fits_is_served(monkeypatch, memory_gb):
    here = scene(placing="resource")
    monkeypatch.setattr("app.scheduling.reach.memory_gb", lambda *_: 10.0)
    here.dispatcher = here.another()
    here.accept()

    wait_beside(here, LIMIT_S + 10, memory_gb=memory_gb, queue="q")

    assert state(here) is JobState.RUNNING


def test_work_that_was_sent_to_a_node_which_is_gone_waits_no_longer(monkeypatch):
    here = scene(placing="resource")
    monkeypatch.setattr("app.scheduling.reach.memory_gb", lambda *_: 10.0)
    here.accept()
    here.node("big@a", memory_gb=40.0, queue="b")
    here.node("small@a", memory_gb=8.0, queue="s")
    assert here.round(1.0)
    here.board.hide("nodes", "big@a")

    wait_beside(here, LIMIT_S + 20, name="small@a", memory_gb=8.0, queue="s")

    assert state(here) is JobState.FAILED


def test_a_job_that_is_resumed_at_once_waits_anew():
    here = scene()
    here.accept()
    wait(here, LIMIT_S + 2)
    assert state(here) is JobState.FAILED

    here.runtime.ledger.reopen("job")
    here.submit("job")
    here.round(0.6)
    here.round(0.6)
    wait(here, LIMIT_S - 10)

    assert state(here) is JobState.RUNNING


def test_a_worker_of_several_pools_renders_for_the_one_that_serves_the_job():
    here = scene()
    plan = here.accept()
    here.node("all@a", pool="control,gpu", current=("job", plan, Work(Stage.TILE, 0, 0, 0)))
    here.round(1.0)
    here.board.hide("nodes", "all@a")

    wait_beside(here, LIMIT_S + 20, name="c@a", pool="control")

    assert state(here) is JobState.FAILED


def test_a_paused_job_waits_for_ever():
    here = scene()
    here.accept()
    here.runtime.entries.pause("job")

    wait(here, 3 * LIMIT_S)

    assert state(here) is not JobState.FAILED


def test_a_job_that_waits_for_a_merge_waits_for_no_worker_of_the_pool():
    here = scene()
    plan = here.accept()
    here.finish(plan, 0, Stage.TILE)

    wait(here, 2 * LIMIT_S)

    assert state(here) is JobState.RUNNING


def test_a_silent_board_tells_nothing(monkeypatch):
    here = scene()
    here.accept()
    shown = here.board.shown

    def silent(kind):
        if kind == "nodes":
            raise BrokerUnavailableError("redis does not answer")
        return shown(kind)

    monkeypatch.setattr(here.board, "shown", silent)

    wait(here, 3 * LIMIT_S)

    assert state(here) is JobState.RUNNING


def test_without_a_limit_it_waits_for_ever():
    here = Scene(unserved_limit_s=0)
    here.accept()

    wait(here, 3 * LIMIT_S)

    assert state(here) is JobState.RUNNING


def test_another_dispatcher_counts_anew():
    here = scene()
    here.accept()
    wait(here, LIMIT_S - 10)

    here.dispatcher.forget()
    wait(here, LIMIT_S - 10)

    assert state(here) is JobState.RUNNING


def test_a_job_that_cannot_be_ended_now_keeps_back_no_other(monkeypatch):
    here = scene()
    here.accept()
    put = here.store.put

    def refuse(key, data):
        if key == "jobs/job/failure.json":
            raise StorageUnavailableError("store m cannot serve the blob")
        return put(key, data)

    monkeypatch.setattr(here.store, "put", refuse)
    wait(here, LIMIT_S + 10)  # raises nothing
    assert state(here) is JobState.RUNNING
    monkeypatch.undo()
    wait(here, 60)

    assert state(here) is JobState.FAILED
