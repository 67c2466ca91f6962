"""Units that no node of their pool can hold."""

import pytest

from app.domain.scheduling.placement import Strategy
from tests.unit.scheduling.nodes import A, B, placing, sent, show
from tests.unit.scheduling.scene import TILES, Scene, tiles

POOLS = {"control": ["plan.*", "finish.*"], "gpu": ["base.*", "tile.*", "upscale.*"], "large": []}


def too_large_for_gpu(monkeypatch, **settings) -> Scene:
    """Two nodes of 8 GB, one of 40 GB in the bigger pool, and a model of 12 GB."""
    monkeypatch.setattr("app.scheduling.reach.memory_gb", lambda *_: 12.0)
    scene = placing("round_robin", pools=POOLS, bigger_pool={"gpu": "large"}, **settings)
    show(scene, "c@h", pool="large", memory_gb=40.0)
    scene.accept()
    return scene


def test_what_no_node_of_its_pool_can_hold_goes_to_the_bigger_pool(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)

    found = scene.round()

    assert {(one.pool, one.slice.nodes) for one in found} == {("large", ())}


def test_a_bigger_pool_may_have_a_strategy_and_a_bigger_pool_of_its_own(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(
        pools=POOLS | {"large": ["tile.none"], "huge": ["tile.none"]},
        bigger_pool={"gpu": "large", "large": "huge"},
    )
    show(scene, "c@h", pool="large", memory_gb=10.0)
    show(scene, "d@h", pool="huge", memory_gb=40.0)

    found = scene.round()

    assert {(one.pool, set(one.slice.nodes).pop()) for one in found} == {("huge", "d@h")}


@pytest.mark.parametrize("pool", ["gpu", "large"])
def test_a_pool_without_any_node_is_given_what_it_may_hold_once_one_is_started(monkeypatch, pool):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(pools=POOLS | {"large": ["tile.none"]})
    for name in {"gpu": (A, B), "large": ("c@h",)}[pool]:
        scene.board.hide("nodes", name)

    assert {(one.pool, one.slice.nodes) for one in scene.round()} == {(pool, ())}


def test_workers_that_choose_themselves_find_out_what_does_not_fit(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(placing=Strategy.LEAST_LOADED)

    assert {one.pool for one in scene.round()} == {"gpu"}


def test_what_is_lost_with_the_last_node_that_could_hold_it_goes_to_the_bigger_pool(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    show(scene, "big@h", memory_gb=40.0)
    (first, *_) = scene.round()
    assert (first.pool, set(first.slice.nodes)) == ("gpu", {"big@h"})
    scene.board.hide("nodes", "big@h")

    again = scene.round(2.0, times=2)

    assert {one.pool for one in again} == {"large"}
    assert set(first.units) <= {work for one in again for work in one.units}


def test_what_a_node_of_its_pool_can_hold_waits_for_it(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    show(scene, B, memory_gb=24.0, state="paused")

    assert sent(scene) == {}


def test_what_no_pool_can_hold_waits_for_its_own(monkeypatch):
    scene = too_large_for_gpu(monkeypatch)
    scene.with_settings(bigger_pool={"gpu": "control", "control": "gpu"}, pool_placing={})
    scene.with_settings(pools=POOLS | {"control": ["plan.*", "finish.*", "tile.none"]})
    show(scene, "c@h", pool="control", memory_gb=10.0)

    assert sent(scene) == {}


def test_what_is_lost_in_the_bigger_pool_is_sent_there_again(monkeypatch):
    scene = too_large_for_gpu(monkeypatch, slice_units=32)
    first = set(sent(scene))

    again = []
    for _ in range(8):
        scene.hand.now_s += 1.0
        for name, pool, memory_gb in ((A, "gpu", 8.0), (B, "gpu", 8.0), ("c@h", "large", 40.0)):
            show(scene, name, pool=pool, memory_gb=memory_gb)
        again += [one for one in scene.round() if one.slice.attempt]

    assert {work for one in again for work in one.units} >= first
    assert {one.pool for one in again} == {"large"}


def test_what_a_worker_of_several_pools_has_is_sent_again_to_its_own(monkeypatch):
    scene = placing(slice_units=32)
    plan = scene.accept()
    held = tiles(TILES)[0]
    show(scene, A, pool="control,gpu", current=("job", plan, held))
    scene.round()

    scene.hand.now_s += 7.0
    again = [one for one in scene.round(1.0) if held in one.units]

    assert [one.pool for one in again] == ["gpu"]
