"""What a tenant is charged for its units, wherever they end."""

import pytest

from app.domain.work import Stage, Work
from tests.unit.scheduling.scene import Scene

SETTINGS = {"lookahead_s": 60.0, "bigger_pool": {"gpu": "large"}}
POOLS = {"control": ["plan.*", "finish.*"], "gpu": ["#"], "large": []}


@pytest.fixture
def scene():
    here = Scene(pools=POOLS, **SETTINGS)
    here.node()
    return here


@pytest.fixture
def plan(scene):
    found = scene.accept()
    scene.round()
    return found


def charged(scene, pool="gpu"):
    return scene.dispatcher._line._shares_of(pool).virtual("default")


def test_a_unit_is_charged_what_it_took(scene, plan):
    before = charged(scene)

    scene.rendered("job", plan, Work(Stage.TILE, 0, 0, 0), seconds=3.0)
    scene.round(0.1)

    assert charged(scene) == pytest.approx(before - 1.0 + 3.0)


def test_a_unit_that_was_moved_is_charged_where_it_was_sent(scene, plan):
    work, before = Work(Stage.TILE, 0, 0, 0), charged(scene)

    scene.rendered("job", plan, work, status="moved")
    scene.rendered("job", plan, work, seconds=3.0)
    scene.round(0.1)

    assert charged(scene) == pytest.approx(before - 1.0 + 3.0)
    assert charged(scene, "large") == 0.0


def test_a_unit_that_was_sent_again_is_charged_once(scene, plan):
    job, work = scene.dispatcher._line.get("job"), Work(Stage.TILE, 0, 0, 0)
    before = charged(scene)
    scene.dispatcher._feeder.send_again([(job, work)])
    job.flying[work].seconds = 50.0

    scene.rendered("job", plan, work, seconds=3.0)
    scene.round(0.1)

    assert charged(scene) == pytest.approx(before - 1.0 + 3.0)


def test_what_has_to_be_sent_anew_is_charged_once(scene, plan):
    before = charged(scene)

    scene.rendered("job", plan, Work(Stage.TILE, 0, 0, 0), status="gone")
    scene.round(0.1)

    assert Work(Stage.TILE, 0, 0, 0) in scene.publisher.slices[-1].units
    assert charged(scene) == pytest.approx(before)
