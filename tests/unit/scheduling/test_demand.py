"""How much work each pool is shown to have, by which its workers are started and drained."""

import pytest

from app.domain.work import Stage, Work
from tests.unit.scheduling.scene import TILES, Scene, tiles

APART = {
    "control": ["plan.*", "finish.*"],
    "gpu": ["base.*", "tile.*"],
    "cores": ["upscale.*"],
}
TILE_S, LATER_TILE_S, CORE_S, HEAD_S = 30.0, 15.0, 0.5, 4.0
CORES = 4
"""Of a picture of nine tiles, which are rendered in two phases."""
TILES_S = TILES * (TILE_S + LATER_TILE_S)
LAST_S = HEAD_S + CORES * CORE_S


def apart(**settings) -> Scene:
    """Pools of their own for tiles and cores, and what both are known to take."""
    scene = Scene(pools=APART, **settings)
    known = scene.accept("known")
    scene.round()
    for work, seconds in (
        *((work, TILE_S) for work in tiles(TILES)),
        (Work(Stage.TILE, 0, 1), LATER_TILE_S),
        (Work(Stage.HEAD, 0), HEAD_S),
        (Work(Stage.CORE, 0), CORE_S),
    ):
        scene.rendered("known", known, work, seconds=seconds)
    scene.round()
    scene.runtime.entries.close("known")
    return scene


def pending_s(scene):
    """What the board tells of each pool."""
    scene.round(1.5)
    pools = scene.board.shown("pools")
    return {pool: pools[pool]["pending_s"] for pool in pools if pool != "control"}


def test_cores_ask_for_no_worker_of_their_pool_while_tiles_are_rendered():
    scene = apart()
    scene.accept()

    assert pending_s(scene) == pytest.approx({"gpu": TILES_S, "cores": 0.0})


def test_tiles_that_are_done_ask_for_no_worker_of_their_pool():
    scene = apart()
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE)

    assert pending_s(scene) == pytest.approx({"gpu": 0.0, "cores": LAST_S})


def test_every_picture_of_a_job_asks_for_workers_of_the_pool_that_it_is_at():
    scene = apart()
    plan = scene.accept(count=2)
    scene.finish(plan, 0, Stage.TILE, Stage.MERGE)

    assert pending_s(scene) == pytest.approx({"gpu": TILES_S, "cores": LAST_S})


def test_what_follows_a_merge_is_counted_while_it_is_made():
    scene = apart()
    plan = scene.accept()
    scene.finish(plan, 0, Stage.TILE)
    scene.store.put(Work(Stage.MERGE, 0).key(plan), b"{}")

    assert pending_s(scene) == pytest.approx({"gpu": 0.0, "cores": LAST_S})


def test_one_pool_is_asked_for_all_that_is_left():
    scene = apart()
    scene.with_settings(pools=APART | {"gpu": ["base.*", "tile.*", "upscale.*"]})
    scene.accept()

    assert pending_s(scene)["gpu"] == 2 * TILES + 1 + CORES  # of a second each, as nobody knows


def test_a_unit_that_moved_is_work_of_the_pool_that_it_moved_to():
    scene = apart()
    scene.with_settings(pools=APART | {"big": ["tile.none"]}, bigger_pool={"gpu": "big"})
    plan = scene.accept()
    (work, *_) = scene.round()[0].units  # of a second each, as nobody knows
    scene.rendered("job", plan, work, status="moved")

    told = pending_s(scene)

    assert (told["gpu"], told["big"]) == (2 * TILES - 1, 1)


def test_a_paused_job_asks_for_no_worker():
    scene = apart()
    scene.accept()
    scene.runtime.entries.pause("job")

    assert pending_s(scene) == {"gpu": 0.0, "cores": 0.0}


def test_the_time_left_of_a_job_is_that_of_all_its_stages():
    scene = apart()
    scene.node()
    scene.accept()
    scene.round(1.5)

    shown = scene.board.shown("schedule")["job"]

    left_s = pytest.approx(TILES_S + LAST_S)
    assert (shown["pending_s"], shown["eta_s"]) == (left_s, left_s)
