"""How much goes into a pool's shared queue, and whose it is."""

from unittest.mock import Mock

import pytest

from app.domain.errors import ConfigurationError
from app.domain.spec import Priority
from app.domain.work import Stage, Work
from tests.unit.scheduling.scene import TILES, Scene, short_queue, tiles


@pytest.fixture
def scene():
    return short_queue()


def jobs(slices):
    return [one.job_id for one in slices for _ in one.units]


def test_a_queue_gets_as_much_as_is_looked_ahead_in_slices(scene):
    scene.accept()

    assert [len(one.units) for one in scene.round()] == [2, 2]


def test_a_queue_that_is_more_than_half_full_gets_nothing(scene):
    scene.accept()
    scene.round()
    scene.publisher.ready["gpu"] = 3

    assert scene.round(1.0) == []
    scene.publisher.ready["gpu"] = 2
    assert jobs(scene.round(1.0)) == ["job"] * 2


def test_twice_the_workers_get_twice_as_much(scene):
    scene.node("w2@a")
    scene.accept()

    assert len(jobs(scene.round())) == 8


def test_what_lies_behind_it_in_the_queue_holds_up_no_job(scene):
    scene.accept("low", priority=Priority.LOW)
    scene.round()
    scene.publisher.ready["gpu"] = 4
    scene.accept("high", priority=Priority.HIGH)

    assert jobs(scene.round(1.0)) == ["high"] * 4
    scene.publisher.ready["gpu"] = 8
    assert scene.round(1.0) == []


@pytest.mark.parametrize("priority", [Priority.LOW, Priority.NORMAL])
def test_a_full_queue_holds_up_what_would_lie_behind_it(scene, priority):
    scene.accept("first")
    scene.round()
    scene.publisher.ready["gpu"] = 4
    scene.accept("second", priority=priority)

    assert scene.round(1.0) == []


def drained(scene):
    """The next slices, after workers took all that was there."""
    scene.publisher.ready["gpu"] = 0
    return scene.round(1.0)


def test_tenants_take_turns_whatever_they_have_sent(scene):
    for number in range(5):
        scene.accept(f"busy-{number}", tenant="busy")
    scene.accept("quiet", tenant="quiet")

    first = jobs(scene.round()) + jobs(drained(scene))

    assert sum(job.startswith("busy") for job in first) == len(first) / 2


def test_tenants_pay_what_their_units_took_and_not_what_was_predicted(scene):
    plans = {name: scene.accept(name, tenant=name) for name in ("slow", "quick")}
    took_s = {"slow": 1.9, "quick": 0.1}
    for one in scene.round():
        for work in one.units:
            scene.rendered(one.job_id, plans[one.job_id], work, seconds=took_s[one.job_id])

    assert jobs(drained(scene)) == ["quick"] * 4


def test_a_paused_job_lets_the_others_by(scene):
    scene.accept("first")
    scene.accept("second")
    scene.runtime.entries.pause("first")

    assert set(jobs(scene.round(1.0))) == {"second"}


def learn(scene, seconds):
    """Let the dispatcher see a picture whose tiles took *seconds* each."""
    plan = scene.accept("known")
    scene.round()
    for work in tiles(TILES):
        scene.rendered("known", plan, work, seconds=seconds)
    scene.round()


def test_short_tiles_share_a_message_and_long_ones_do_not():
    """Half a second of them, when it is known that they are short."""
    sizes = {}
    for seconds in (0.1, 0.25, 2.0):
        scene = Scene(lookahead_s=4.0, slice_units=32, message_s=0.5)
        scene.node()
        learn(scene, seconds)
        scene.accept(height=4096, width=4096)
        sizes[seconds] = scene.round(1.0)[0].slice.batch

    assert sizes == {0.1: 5, 0.25: 2, 2.0: 1}


def test_nobody_knows_that_tiles_are_short_before_one_was_rendered():
    scene = Scene(lookahead_s=4.0, slice_units=32, message_s=60.0)
    scene.node()
    scene.accept(height=8192, width=8192)

    assert {one.slice.batch for one in scene.round()} == {1}


def test_the_last_short_tiles_go_alone():
    scene = Scene(lookahead_s=4.0, slice_units=32, message_s=0.5)
    scene.node()
    learn(scene, 0.1)
    scene.accept()

    assert [one.slice.batch for one in scene.round(1.0)] == [2]


APART = {
    "pools": {
        "control": ["plan.*", "finish.*"],
        "gpu": ["base.*", "tile.*"],
        "cores": ["upscale.*"],
    }
}


def mixed(**settings):
    """Two pictures, cores of 0.1 s next for the first, and tiles of 30 s for the second."""
    scene = Scene(lookahead_s=4.0, slice_units=32, message_s=0.5, **APART, **settings)
    known = scene.accept("known")
    scene.round()
    for work in tiles(TILES):
        scene.rendered("known", known, work, seconds=30.0)
    scene.rendered("known", known, Work(Stage.CORE, 0), seconds=0.1)
    scene.round()
    scene.runtime.entries.close("known")
    plan = scene.accept(height=2048, width=2048, count=2)
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    return scene


def of_pool(slices, pool):
    return [one for one in slices if one.pool == pool]


def test_a_pool_is_filled_by_the_time_of_its_own_units():
    scene = mixed()
    scene.node()

    long = of_pool(scene.round(1.0), "gpu")

    assert {work.stage for one in long for work in one.units} == {Stage.TILE}
    assert (len(jobs(long)), {one.slice.batch for one in long}) == (2, {1})


def test_nodes_get_as_many_as_the_time_of_their_own_units_allows():
    scene = mixed(placing="round_robin")
    scene.node(queue="render.node.w1@a")

    long = of_pool(scene.round(1.0), "gpu")

    assert (len(jobs(long)), {one.slice.batch for one in long}) == (2, {1})


def test_what_waits_behind_a_warm_node_counts_by_the_time_of_its_own_stage():
    scene = mixed(placing="affinity", steal_after_s=500.0)
    scene.publisher.ready["cores"] = 1000  # so the cores wait as well
    for name, models in (("cold@a", []), ("warm@a", ["sd15"])):
        scene.node(name, queue=f"render.node.{name}", models=models)

    long = of_pool(scene.round(1.0), "gpu")

    assert "cold@a" in {node for one in long for node in one.slice.nodes}


def test_the_last_short_tiles_go_alone_whatever_waits_for_another_pool():
    scene = Scene(lookahead_s=4.0, slice_units=32, message_s=0.5, **APART)
    scene.node()
    learn(scene, 0.1)
    plan = scene.accept(count=9)
    for image in range(8):
        scene.finish(plan, image, Stage.TILE, Stage.MERGE, Stage.HEAD)

    assert {one.slice.batch for one in of_pool(scene.round(1.0), "gpu")} == {2}


def test_units_that_nobody_may_send_are_given_back(scene, monkeypatch):
    scene.accept()
    refuse = Mock(side_effect=ConfigurationError("broker refuses the credentials"))
    monkeypatch.setattr(scene.publisher, "send_slice", refuse)
    with pytest.raises(ConfigurationError):
        scene.round()
    monkeypatch.undo()

    assert [work for one in scene.round(1.0) for work in one.units] == tiles(4)


def test_short_units_that_are_no_tiles_have_a_message_each(scene):
    plan = scene.accept("known", width=4096)
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE, Stage.HEAD)
    scene.publisher.ready["gpu"] = 0
    (first, *_) = [one for one in scene.round() if one.units]
    for work in first.units:
        scene.rendered("known", plan, work, seconds=0.01)

    later = scene.round(1.0)

    assert {one.units[0].stage for one in later} == {Stage.CORE}
    assert {one.slice.batch for one in later} == {1}
